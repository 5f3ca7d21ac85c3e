"""Patterns that leave files and folders out."""

from __future__ import annotations

import pytest

from watcher.sources.exclusions import SERVICE_FOLDERS, Exclusions
from watcher.sources.source_filter import SourceFilter


@pytest.mark.parametrize(
    ("patterns", "out", "kept"),
    [
        (["drafts/"], ["drafts/x.jpg", "a/drafts/b/x.jpg"], ["drafts.jpg", "my-drafts/x.jpg", "drafts"]),
        (["drafts"], ["drafts/x.jpg", "a/drafts"], ["drafts.jpg"]),
        (["/drafts/"], ["drafts/x.jpg"], ["a/drafts/x.jpg"]),
        (["a/b/"], ["a/b/x.jpg", "a/b/c/x.jpg"], ["c/a/b/x.jpg", "a/bc/x.jpg"]),
        (["./a/b/"], ["a/b/x.jpg"], ["b/x.jpg"]),
        (["*_preview.jpg"], ["x_preview.jpg", "a/_preview.jpg"], ["x_preview.png"]),
        (["a/*.png"], ["a/x.png"], ["a/b/x.png", "x.png", "a/x.jpg"]),
        (["a/**/x.png"], ["a/x.png", "a/b/c/x.png"], ["x.png", "a/bx.png"]),
        (["a/**"], ["a/x.png", "a/b/x.png"], ["b/x.png"]),
        (["**/raw/"], ["raw/x.png", "a/raw/x.png"], ["a/b.png"]),
        (["IMG_????.jpg"], ["IMG_0001.jpg"], ["IMG_001.jpg", "IMG_/001.jpg"]),
        (["[ab]x.jpg"], ["ax.jpg", "bx.jpg"], ["cx.jpg"]),
        (["[!ab]x.jpg"], ["cx.jpg"], ["ax.jpg"]),
        (["[0-9]*/"], ["2024/x.jpg"], ["a2024/x.jpg"]),
        (["a.b(c)+.jpg"], ["a.b(c)+.jpg"], ["aXb(c)+.jpg"]),
        ([r"\*.jpg"], ["*.jpg"], ["x.jpg"]),
        (["*.jpg", "!keep*.jpg"], ["x.jpg"], ["keep1.jpg", "x.png"]),
        (["!keep*.jpg", "*.jpg"], ["keep1.jpg"], []),
        (["a/", "!a/x.jpg"], ["a/x.jpg"], ["b/x.jpg"]),
        (["ü/"], ["ü/x.jpg"], ["u/x.jpg"]),
        (["a b;c/"], ["a b;c/x.jpg"], ["a b/x.jpg"]),
    ],
)
def test_a_pattern_leaves_out_what_it_matches(patterns: list[str], out: list[str], kept: list[str]) -> None:
    exclusions = Exclusions(patterns)
    assert [key for key in out if not exclusions.excludes(key)] == []
    assert [key for key in kept if exclusions.excludes(key)] == []


@pytest.mark.parametrize("name", [*SERVICE_FOLDERS, "$Recycle.Bin", "@EADIR"])
def test_service_folders_are_left_out_at_any_depth(name: str) -> None:
    names = SourceFilter()
    assert not names.accepts(f"{name}/x.jpg") and not names.accepts(f"a/{name}/b/x.jpg")
    assert not names.enters(f"{name}/") and not names.enters(f"a/{name}/b/")
    assert names.accepts(f"a/{name}.jpg"), "only the folder"
    assert SourceFilter((), [f"!{name}/"]).accepts(f"a/{name}/x.jpg"), "but for whom wants it"


@pytest.mark.parametrize("name", [".stversions", ".sync", ".dropbox.cache", ".Trash-1000", ".@__thumb"])
def test_hidden_service_folders_are_left_out_too(name: str) -> None:
    assert not SourceFilter().enters(f"a/{name}/")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "names no file and no folder"),
        ("/", "names no file and no folder"),
        ("!", "names no file and no folder"),
        ("*", "leaves out every image"),
        ("**/*", "leaves out every image"),
        ("[z-a].jpg", "is no pattern"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Exclusions([pattern])
