"""The system's Chromium, driven as a user drives it: real drops from the disk, real downloads, real keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.equipment.requirements import require_program
from tests.equipment.support import wait_until

PROGRAM = "chromium"
SERIOUS = frozenset({"serious", "critical"})
"""How bad axe-core must find a fault for us to fail."""
PATIENCE = 120_000
"""Milliseconds to wait for what must come: a busy machine is no fault."""

expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    require_program(PROGRAM, "make services")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=f"/usr/bin/{PROGRAM}")
        yield browser
        browser.close()


_LISTEN = """
    window.toastTexts = [];
    window.drops = 0;
    addEventListener("drop", () => drops++, true);
    new MutationObserver((changes) => {
        for (const { addedNodes } of changes)
            for (const node of addedNodes)
                if (node.classList?.contains("toast")) toastTexts.push(node.firstChild.textContent);
    }).observe(document, { childList: true, subtree: true });
"""
"""Records the text of every toast, which the page shows for some seconds only, and counts the drops."""


class Visitor:
    """A user of the page: a browser profile, and the tabs that were opened with it."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(**{"base_url": address, "locale": "en-US", **options})
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(_LISTEN)
        self.hosts: set[str] = set()
        """Every host that a request went to."""
        self.problems: list[str] = []
        """Exceptions, and violations of the policy."""
        self.context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.context.on("weberror", lambda error: self.problems.append(str(error.error)))
        self.context.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.context.on("console", lambda message: self._hear(message.text))

    def open(self, view: str = "pictures") -> Page:
        """Open the page in a new tab."""
        page = self.context.new_page()
        page.goto(f"/#{view}")
        return page

    def close(self) -> None:
        """Close all tabs and forget the profile."""
        self.context.close()

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "Trusted" in text:
            self.problems.append(text)


def wait_for_toast(page: Page, text: str) -> None:
    """Wait until a toast on the page has shown this text."""
    wait_until(lambda: text in page.evaluate("toastTexts"), message=f"no toast has shown: {text}", pause=0.05)


def drop(page: Page, paths: Sequence[Path], at: tuple[int, int] = (300, 300), meanwhile: str = "") -> None:
    """Drop files and folders from the disk on the page, as a file manager does; the page must accept it.

    `meanwhile` is a script that runs before the pointer lets go.
    """
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}

    def drag(kind: str) -> None:
        session.send("Input.dispatchDragEvent", {"type": kind, "x": at[0], "y": at[1], "data": data})

    # Chromium keeps all input from a page that it has not painted yet.
    page.wait_for_function("performance.getEntriesByType('paint').length > 0")
    before = page.evaluate("drops")
    drag("dragEnter")
    drag("dragOver")
    if meanwhile:
        page.evaluate(meanwhile)
    drag("drop")
    session.detach()
    assert page.evaluate("drops") == before + 1, "the page did not accept the drop"


class LateAnswer:
    """Holds the daemon's answer to a request back until `let_go`. `pattern` is a URL with asterisks."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._paused: list[str] = []
        self._session = page.context.new_cdp_session(page)
        self._session.on("Fetch.requestPaused", lambda event: self._paused.append(event["requestId"]))
        self._session.send("Fetch.enable", {"patterns": [{"urlPattern": pattern, "requestStage": "Response"}]})

    def wait(self, page: Page) -> None:
        """Wait until the daemon has answered."""
        wait_until(lambda: page.evaluate("1") and self._paused, message="the request was never answered", pause=0.05)

    def let_go(self) -> None:
        """Pass the answer on to the page; later answers are not held back."""
        for id in self._paused:
            self._session.send("Fetch.continueResponse", {"requestId": id})
        self._session.detach()


def accessibility_problems(page: Page) -> list[str]:
    """The serious accessibility problems that axe-core finds: the rule and the elements of each."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    serious = [violation for violation in found["violations"] if violation["impact"] in SERIOUS]
    return [f"{v['id']}: {', '.join(str(node['target']) for node in v['nodes'])}" for v in serious]
