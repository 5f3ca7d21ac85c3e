"""The page's files: what a browser may do with them, how long it keeps them, and that both languages are complete."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from starlette.applications import Starlette

from inference.review.doubts import Doubt
from watcher.core.reasons import Reason
from watcher.web.static import page_files, page_routes

FILES = {name: content.decode() for name, content in page_files().items()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
CODE = "\n".join(text for name, text in SCRIPTS.items() if not name.startswith("strings/"))
LANGUAGES = ("en", "zh")
SINKS = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser", "srcdoc")
"""What turns text into HTML or code."""


APP = Starlette(routes=list(page_routes()))


def get(path: str, **headers: str) -> httpx.Response:
    """The response to a request; `if_none_match="..."` is the header If-None-Match."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://127.0.0.1:9464") as client:
            return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return asyncio.run(ask())


def strings(language: str) -> dict[str, str]:
    """The table of a language: key and the text of all its forms."""
    return dict(re.findall(r'^  "([\w.]+)": (.+),$', FILES[f"strings/{language}.js"], re.MULTILINE))


def used_keys() -> set[str]:
    """Keys that the code names in full."""
    return set(re.findall(r'\bt\("([\w.]+)"', CODE))


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    response = get("/")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy and "http" not in policy and "require-trusted-types-for 'script'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script[^>]*>[^<]|<style|\son\w+=|style=", response.text)


def test_a_browser_asks_for_the_index_and_keeps_the_rest_for_ever() -> None:
    index = get("/")
    assert index.headers["cache-control"] == "no-cache"
    assert get("/", if_none_match=index.headers["etag"]).status_code == 304
    addresses = re.findall(r'(?:href|src)="([^"]+)"', index.text)
    assert {name for name in FILES if not name.startswith("index")} == {path.split("/", 3)[3] for path in addresses}
    for address in addresses:
        response = get(address)
        assert response.status_code == 200 and "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].split(";")[0] in ("text/javascript", "text/css", "image/svg+xml")


def test_the_files_of_another_version_are_not_served() -> None:
    assert get("/page/00000000000000000000/app.js").status_code == 404
    base = re.findall(r'src="(/page/\w+/)app.js"', get("/").text)[0]
    assert get(base + "../../routes.py").status_code == 404
    assert get(base + "nothing.js").status_code == 404


def test_the_files_are_compressed_for_those_who_can_unpack_them() -> None:
    packed, plain = get("/", accept_encoding="gzip"), get("/", accept_encoding="identity")
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content and int(packed.headers["content-length"]) < len(plain.content) / 2


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_names_another_host_or_turns_text_into_html(name: str) -> None:
    text = FILES[name].replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert [sink for sink in SINKS if sink in text] == []
    assert len(text.splitlines()) <= 320


def test_every_module_that_is_imported_is_there() -> None:
    for text in SCRIPTS.values():
        for path in re.findall(r'from "\./([^"]+)"', text):
            assert path in SCRIPTS


def test_both_languages_have_the_same_keys_and_values_to_fill_in() -> None:
    english, chinese = map(strings, LANGUAGES)
    assert english.keys() == chinese.keys() and len(english) > 150
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_that_the_code_asks_for(language: str) -> None:
    table = strings(language)
    words = {"reason.gone", *(f"reason.{reason.value}" for reason in Reason)} | {
        f"doubt.{doubt.value}" for doubt in Doubt
    }
    assert used_keys() | words <= table.keys()


def test_no_text_is_left_over() -> None:
    built = set(re.findall(r"t\(`([\w.]+\.)\$\{", CODE)) | {"reason.", "doubt.", "worker."}
    whole = used_keys() | set(re.findall(r'"([\w.]+)"', CODE))
    assert [key for key in strings("en") if key not in whole and not key.startswith(tuple(built))] == []
