"""Draws docs/images/page-*.jpg: the page of a running daemon in the system's Chromium, on a desktop and on a phone.

Run it with `make page-images`. The pictures are a dozen of scikit-image's photographs and of our drawn products.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from inference.synthetic import render_sample
from tests.equipment.browser import LateAnswer, Visitor, chromium, drop
from tests.equipment.daemon import Daemon, Folders

IMAGES = Path("docs/images")
PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "motorcycle_left.png", "rocket.jpg")
SHAPES = ((720, 960), (960, 720), (900, 900), (720, 1080), (1000, 800), (800, 800))
DRAWN = 19
"""Products that are drawn."""
BROKEN = "label.png"
DESKTOP = {"viewport": {"width": 1320, "height": 840}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}
QUALITY, WIDEST = 74, 1320


def main() -> None:
    """Start a daemon, drop the pictures, take the screenshots."""
    with tempfile.TemporaryDirectory() as top, chromium() as browser:
        photos, products = _photos(Path(top) / "autumn"), _products(Path(top) / "shelf")
        with Daemon(Folders.below(Path(top) / "daemon"), "--page", model="nano") as daemon:
            daemon.wait_until_ready()
            address = f"http://127.0.0.1:{daemon.port}"
            _drop_and_watch(browser, address, photos, products)
            for name, view, options, act in _shots():
                with _page(browser, address, view, options) as page:
                    act(page)
                    _save(page, IMAGES / f"page-{name}.jpg")
            daemon.stop()


def _shots() -> Iterator[tuple[str, str, dict[str, Any], Callable[[Page], None]]]:
    """Name, view, look, and what to do before the screenshot, for those of finished pictures."""
    yield "desktop", "pictures", DESKTOP, _see_cards
    yield "compare", "pictures", DESKTOP, _compare
    yield "review", "review", DESKTOP, _see_review
    yield "dark", "pictures", {**DESKTOP, "color_scheme": "dark"}, _see_cards
    yield "chinese", "review", {**DESKTOP, "locale": "zh-CN"}, _see_review
    yield "phone", "pictures", PHONE, _see_cards


def _photos(folder: Path) -> Path:
    folder.mkdir()
    for name in PHOTOS:
        Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB").save(
            folder / Path(name).with_suffix(".jpg")
        )
    return folder


def _products(folder: Path) -> Path:
    """Draw the products into a folder, with one file that is damaged."""
    folder.mkdir()
    for seed in range(DRAWN):
        picture = render_sample(np.random.default_rng(seed), *SHAPES[seed % len(SHAPES)]).image
        Image.fromarray(picture).save(folder / f"product-{seed + 1:02}.jpg", quality=92)
    whole = io.BytesIO()
    Image.new("RGB", (600, 400), "#b08d57").save(whole, "PNG")
    (folder / BROKEN).write_bytes(whole.getvalue()[:900])
    return folder


def _drop_and_watch(browser: Browser, address: str, photos: Path, products: Path) -> None:
    """Upload the pictures and wait for all; screenshots show the page empty, with uploads, and at work."""
    with _page(browser, address, "pictures", DESKTOP) as page, _page(browser, address, "live", DESKTOP) as live:
        _save(page, IMAGES / "page-empty.jpg")
        drop(page, [products])
        expect(page.locator(".card.done").nth(5)).to_be_visible()
        expect(live.locator(".failures li")).to_have_count(1)
        expect(live.locator(".state.working")).to_have_count(1)
        _save(live, IMAGES / "page-live.jpg")
        _wait_for_all(page, DRAWN)
        page.get_by_role("button", name="All", exact=True).click()
        expect(page.locator(".toast")).to_have_count(0)
        answers = LateAnswer(page, "*/v1/cutouts?path=*")
        drop(page, [photos])
        page.mouse.move(0, 0)  # so that no card is highlighted
        expect(page.locator(".upload-list .figure", has_text="100")).to_have_count(3)
        _see_cards(page)
        _save(page, IMAGES / "page-uploads.jpg")
        answers.let_go()
        _wait_for_all(page, DRAWN + len(PHOTOS))


def _wait_for_all(page: Page, count: int) -> None:
    page.get_by_role("button", name="Done", exact=True).click()
    expect(page.locator(".count")).to_have_text(f"{count} pictures")


@contextmanager
def _page(browser: Browser, address: str, view: str, options: dict[str, Any]) -> Iterator[Page]:
    visitor = Visitor(browser, address, **options)
    page = visitor.open(view)
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")
    yield page
    visitor.close()


def _see_cards(page: Page) -> None:
    expect(page.locator(".card img.here").nth(5)).to_be_visible()
    _wait_for_pictures(page)


def _compare(page: Page) -> None:
    page.locator(".card-open[aria-label*='astronaut'], .card-open[aria-label*='coffee']").first.click()
    expect(page.locator(".compare-before.here")).to_have_count(1)
    expect(page.locator(".compare-after.here")).to_have_count(1)


def _see_review(page: Page) -> None:
    expect(page.locator(".compare-before.here")).to_have_count(1)
    expect(page.locator(".compare-after.here")).to_have_count(1)
    _wait_for_pictures(page)


def _wait_for_pictures(page: Page) -> None:
    """Wait until every picture on the page is drawn."""
    page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")


def _save(page: Page, path: Path) -> None:
    """Save a screenshot as a small JPEG."""
    image = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    image.save(path, quality=QUALITY, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
