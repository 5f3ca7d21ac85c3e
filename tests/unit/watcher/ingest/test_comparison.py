"""A source's listing against a sink's: what is found, and what it costs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.codec import encode
from inference.picture import Cutout
from watcher.core.jobs import ImageRef, Job, Recipe, Rejection
from watcher.core.reasons import Reason
from watcher.ingest.comparison import OTHER_CLOCK, SLICE, Comparison, Cursor, Finding, Recent
from watcher.sources.names import SourceFilter
from watcher.stores.base import OutputInfo
from watcher.stores.error_records import write_error_record
from watcher.stores.output_metadata import png_text
from watcher.testing import MemoryStore

RECIPE = Recipe("memory://source", "digest", {})
NEVER = threading.Event()


class Counting(MemoryStore):
    """A store that counts what it is asked."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.now = 100.0
        self.asked: Counter[str] = Counter()
        self.on_held: Callable[[], None] = lambda: None

    def list(self, below: str = "") -> Iterator[ImageRef]:
        self.asked["list"] += 1
        return super().list(below)

    def output_info(self, key: str) -> OutputInfo | None:
        self.asked["output_info"] += 1
        self.on_held()
        return super().output_info(key)


@pytest.fixture
def source() -> Counting:
    return Counting("memory://source")


@pytest.fixture
def sink() -> Counting:
    return Counting("memory://sink")


def make_output(sink: Counting, job: Job) -> None:
    """What a worker would have put there."""
    sink.write(job.output, encode(Cutout(np.zeros((2, 2, 4), np.uint8)), text=png_text(job)))


def compare(
    source: Counting, sink: Counting, *, recipe: Recipe = RECIPE, deep: bool = False
) -> tuple[dict[str, Finding], Counter[Finding]]:
    comparison = Comparison(recipe, source, sink, SourceFilter(["cutouts"]), deep=deep)
    return {ref.key: finding for ref, finding in comparison.undone(NEVER)}, comparison.found


def test_what_has_an_output_is_done_and_the_rest_is_missing(source: Counting, sink: Counting) -> None:
    jobs = [RECIPE.job(source.write(key, b"x")) for key in ("a.jpg", "b/c.jpg", "d.jpg")]
    make_output(sink, jobs[1])
    undone, found = compare(source, sink)
    assert undone == {"a.jpg": Finding.MISSING, "d.jpg": Finding.MISSING}
    assert found == {Finding.MISSING: 2, Finding.DONE: 1}


def test_only_pictures_of_the_source_count(source: Counting, sink: Counting) -> None:
    for key in ("read.me", ".hidden.jpg", "cutouts/a.png", "a/.x/b.jpg"):
        source.write(key, b"x")
    assert compare(source, sink) == ({}, {})


def test_an_output_that_is_older_than_its_image_is_outdated(source: Counting, sink: Counting) -> None:
    make_output(sink, RECIPE.job(source.write("a.jpg", b"x")))
    source.now = 102.0
    source.write("a.jpg", b"y")
    sink.asked.clear()
    assert compare(source, sink)[0] == {"a.jpg": Finding.OUTDATED}
    assert "output_info" not in sink.asked


@pytest.mark.parametrize("moment", [99.5, 100.0, 101.0])
def test_an_output_of_the_same_moment_is_asked_once(source: Counting, sink: Counting, moment: float) -> None:
    sink.now = moment
    for key in ("same.jpg", "changed.jpg"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    source.write("changed.jpg", b"y")
    asked = Recent()
    for held in (2, 1):
        sink.asked.clear()
        comparison = Comparison(RECIPE, source, sink, SourceFilter(), asked=asked)
        assert [(ref.key, finding) for ref, finding in comparison.undone(NEVER)] == [("changed.jpg", Finding.OUTDATED)]
        assert sink.asked["output_info"] == held, "what is done is remembered"


def test_between_two_clocks_a_wider_moment_is_asked(source: Counting, sink: Counting) -> None:
    sink.now = 100.0 - 60.0
    make_output(sink, RECIPE.job(source.write("a.jpg", b"x")))
    assert compare(source, sink)[0] == {"a.jpg": Finding.OUTDATED}
    wider = Comparison(RECIPE, source, sink, SourceFilter(), doubt=OTHER_CLOCK)
    assert list(wider.undone(NEVER)) == []


def test_shallow_asks_for_nothing_but_listings(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    for number in range(50):
        job = RECIPE.job(source.write(f"{number}.jpg", b"x"))
        if number % 2:
            make_output(sink, job)
    sink.asked.clear()
    undone, _ = compare(source, sink)
    assert len(undone) == 25
    assert sink.asked == {"list": 2}


def test_deep_asks_every_output_which_job_made_it(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    for key in ("a.jpg", "b.jpg"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    source.write("c.jpg", b"x")
    other = replace(RECIPE, model="another")
    make_output(sink, other.job(ImageRef("b.jpg", "2", 1)))
    sink.asked.clear()
    assert compare(source, sink, recipe=other)[0] == {"c.jpg": Finding.MISSING}
    assert compare(source, sink, recipe=other, deep=True)[0] == {"a.jpg": Finding.OUTDATED, "c.jpg": Finding.MISSING}
    assert sink.asked["output_info"] == 2


def test_a_rejected_image_is_left_alone_until_it_changes(source: Counting, sink: Counting) -> None:
    job = RECIPE.job(source.write("a b/ü.jpg", b"x"))
    write_error_record(sink, job, Rejection(Reason.TRUNCATED, "The file ends early."))
    assert compare(source, sink) == ({}, {Finding.REJECTED: 1})
    source.now = 101.0
    source.write("a b/ü.jpg", b"y")
    assert compare(source, sink)[0] == {"a b/ü.jpg": Finding.MISSING}


def test_an_upload_in_parts_is_asked_since_its_time_is_that_of_its_beginning(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    ref = replace(source.write("a.jpg", b"x"), version="d41d8cd9-2")
    source._objects["a.jpg"] = ref, b"x"
    make_output(sink, RECIPE.job(replace(ref, version="older-2")))
    assert compare(source, sink)[0] == {"a.jpg": Finding.OUTDATED}


def test_a_stop_is_heard_between_questions(source: Counting, sink: Counting) -> None:
    for number in range(300):
        make_output(sink, RECIPE.job(source.write(f"{number}.jpg", b"x")))
    stop = threading.Event()
    sink.on_held = stop.set
    assert list(Comparison(RECIPE, source, sink, SourceFilter(), deep=True).undone(stop)) == []
    assert sink.asked["output_info"] <= 2 * SLICE


def test_it_ends_early_when_it_is_to_stop(source: Counting, sink: Counting) -> None:
    source.write("a.jpg", b"x")
    stop = threading.Event()
    stop.set()
    assert list(Comparison(RECIPE, source, sink, SourceFilter()).undone(stop)) == []


def test_names_whose_outputs_come_in_another_order_are_found_too(source: Counting, sink: Counting) -> None:
    for key in ("a.jpg", "a.k.jpg", "b.png", "b.a.png"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    assert compare(source, sink) == ({}, {Finding.DONE: 4})


@given(st.sets(st.text("ab./-é日", min_size=1, max_size=6), max_size=30), st.data())
def test_any_names_and_patterns_give_what_asking_for_each_would(stems: set[str], data: st.DataObject) -> None:
    source, sink = Counting("memory://source"), Counting("memory://sink")
    pattern = data.draw(st.sampled_from(["{dir}{stem}.png", "{stem}.png", "x/{ext}/{name}.png"]))
    recipe = replace(RECIPE, output_name=pattern)
    endings = data.draw(st.lists(st.sampled_from(["jpg", "png", "webp"]), min_size=len(stems), max_size=len(stems)))
    jobs = [recipe.job(source.write(f"{stem}.{end}", b"x")) for stem, end in zip(sorted(stems), endings, strict=True)]
    accepted = [job for job in jobs if SourceFilter().accepts(job.ref.key)]
    for job in accepted:
        if data.draw(st.booleans()):
            make_output(sink, job)
    there = {ref.key for ref in sink.list()}
    undone, found = compare(source, sink, recipe=recipe)
    wanted = {job.ref.key for job in accepted if job.output not in there and not job.ref.key.startswith("cutouts/")}
    assert {key for key, finding in undone.items() if finding is Finding.MISSING} == wanted
    assert sum(found.values()) == len(accepted)


def test_a_cursor_asks_only_for_what_lies_behind() -> None:
    refs = [ImageRef(key, "1", 1) for key in ("a", "c", "e")]
    asked: list[str] = []

    def ask(key: str) -> ImageRef | None:
        asked.append(key)
        return next((ref for ref in refs if ref.key == key), None)

    cursor = Cursor(iter(refs), ask)
    assert [cursor.find(key) is not None for key in ("a", "a", "b", "c", "d")] == [True, True, False, True, False]
    assert asked == []
    assert cursor.find("c") is not None
    assert asked == ["c"]
    assert cursor.find("z") is None
