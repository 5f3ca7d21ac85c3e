"""Where uploads go: keys that are safe in every store, and pictures by their contents."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.equipment.daemon import photo
from watcher.sources.source_filter import SourceFilter
from watcher.stores.local import _is_key
from watcher.web.errors import ApiError
from watcher.web.uploads import MAX_PART, numbered, sniff, upload_key


def problem(batch: str, path: str) -> str:
    with pytest.raises(ApiError) as caught:
        upload_key("uploads/", batch, path, "JPEG")
    assert caught.value.status == 400 and caught.value.detail
    return caught.value.code


@pytest.mark.parametrize(
    ("batch", "path", "key"),
    [
        ("b", "a.jpg", "uploads/b/a.jpg"),
        ("summer 2026 (v1.2)", "shoes/left/a b.JPEG", "uploads/summer 2026 (v1.2)/shoes/left/a b.JPEG"),
        ("夏", "写真/鞋 👟.png", "uploads/夏/写真/鞋 👟.png"),
        ("b", "no extension", "uploads/b/no extension.jpg"),
        ("b", "report.pdf", "uploads/b/report.pdf.jpg"),
        ("b", "page.html", "uploads/b/page.html.jpg"),
        ("b", "wrong.png", "uploads/b/wrong.png"),
        ("b", "gro\u0308\u00dfe.jpg", "uploads/b/größe.jpg"),
        ("b", "a..b/..c", ""),
        ("b", "-rf.jpg", "uploads/b/-rf.jpg"),
    ],
)
def test_an_upload_lies_at_its_path_in_its_batch(batch: str, path: str, key: str) -> None:
    if key:
        assert upload_key("uploads/", batch, path, "JPEG") == key
    else:
        assert problem(batch, path) == "bad_path"


@pytest.mark.parametrize(
    "path",
    [
        "../a.jpg",
        "a/../../b.jpg",
        "/etc/passwd.jpg",
        "a//b.jpg",
        "./a.jpg",
        "a/./b.jpg",
        "a/",
        "..",
        "\\\\server\\share.jpg",
        "..\\..\\a.jpg",
        "a\0.jpg",
        "a\n.jpg",
        "a\x7f.jpg",
        "a\x85.jpg",
        "a\u2028.jpg",
        "photo\u202egpj.exe.jpg",
        "\ud800.jpg",
        ".hidden.jpg",
        ".alphadrop/a.jpg",
        "a/.b/c.jpg",
        " a.jpg",
        "a /b.jpg",
        "x" * (MAX_PART + 1) + ".jpg",
        "ü" * 100 + ".jpg",
        "/".join(["folder"] * 120) + "/a.jpg",
    ],
)
def test_a_path_that_leads_elsewhere_or_hides_is_refused(path: str) -> None:
    assert problem("b", path) == "bad_path"


NO_BATCHES = ["", " ", "a/b", "..", ".b", "_failed", "b.", "b ", "a\\b", "a\nb", "x" * 81, "夏" * 70, "a\0"]


@pytest.mark.parametrize("batch", NO_BATCHES)
def test_a_batch_is_a_plain_name(batch: str) -> None:
    assert problem(batch, "a.jpg") == "bad_batch"


def test_an_upload_without_a_name_gets_one_of_its_own() -> None:
    keys = {upload_key("uploads/", "b", "", "PNG") for _ in range(3)}
    assert len(keys) == 3 and all(re.fullmatch(r"uploads/b/picture-[0-9a-f]{8}\.png", key) for key in keys)


@given(batch=st.text(max_size=90), path=st.text(max_size=300))
def test_whatever_is_taken_is_a_key_of_a_picture_below_the_prefix(batch: str, path: str) -> None:
    try:
        key = upload_key("uploads/", batch, path, "PNG")
    except ApiError:
        return
    assert key.startswith("uploads/") and _is_key(key) and SourceFilter().accepts(key)
    assert _is_key(numbered(key, 99)) and len(numbered(key, 99).encode()) < 1000
    assert all(len(part.encode()) <= 255 for part in numbered(key, 99).split("/"))


def test_a_picture_is_known_by_its_contents() -> None:
    assert sniff(photo((1, 2, 3))) == "PNG"
    for data, status in ((b"", 400), (b"<html><script>alert(1)</script>", 415), (b"MZ\x90\0", 415), (b"%PDF-1.7", 415)):
        with pytest.raises(ApiError) as caught:
            sniff(data)
        assert caught.value.status == status
