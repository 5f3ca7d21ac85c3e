"""Which keys are pictures of a source."""

from __future__ import annotations

import pytest

from watcher.sources.source_filter import SourceFilter, is_picture


@pytest.mark.parametrize("key", ["x.jpg", "a/b/x.JPEG", "x.y.Png", "x.jpe", "x.jfif", "x.webp", "x.tif", "x.tiff",
                                 "x.bmp", "x.gif", "x.avif", "new\nline.jpg", "a b+%.jpg", "ü/ü.jpg"])  # fmt: skip
def test_a_picture_has_a_pictures_extension(key: str) -> None:
    assert is_picture(key)


@pytest.mark.parametrize("key", ["x", "x.txt", "jpg", "a.jpg/x", "a.jpg/x.txt", "x.jpg.", "x.jpg/", ""])
def test_other_files_are_no_pictures(key: str) -> None:
    assert not is_picture(key)


@pytest.mark.parametrize("key", [".x.jpg", ".jpg", "a/.x.jpg", ".git/x.jpg", "a/.b/x.jpg"])
def test_hidden_names_are_ignored(key: str) -> None:
    assert not is_picture(key)


@pytest.mark.parametrize("ending", [".tmp", ".part", ".partial", ".crdownload", ".filepart", "~"])
def test_temporary_names_are_ignored(ending: str) -> None:
    assert not is_picture("x.jpg" + ending)


@pytest.mark.parametrize("excluded", ["out", "out/"])
def test_excluded_directories_are_neither_entered_nor_accepted(excluded: str) -> None:
    names = SourceFilter([excluded, "a/b"])
    assert not names.accepts("out/x.jpg")
    assert not names.accepts("a/b/c/x.jpg")
    assert not names.enters("out/")
    assert names.accepts("outdoor.jpg")
    assert names.accepts("outdoor/x.jpg")
    assert names.enters("a/")
    assert names.enters("")


def test_hidden_directories_are_not_entered() -> None:
    assert not SourceFilter().enters(".git/")
    assert not SourceFilter().enters("a/.b/c/")


@pytest.mark.parametrize("excluded", ["", "/", "./"])
def test_the_whole_source_cannot_be_excluded(excluded: str) -> None:
    with pytest.raises(ValueError, match="whole source"):
        SourceFilter([excluded])
