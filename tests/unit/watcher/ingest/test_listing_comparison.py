"""What a comparison of two listings finds, and which requests it makes."""

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
from watcher.core.jobs import ImageRef, Job, OutputRecipe, Recipe, Rejection
from watcher.core.reasons import Reason
from watcher.ingest.listing_comparison import (
    OTHER_CLOCK_TOLERANCE,
    REQUEST_BATCH,
    ListingComparison,
    ListingCursor,
    OutputState,
    RecentImages,
)
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import OutputInfo
from watcher.stores.error_records import write_error_record
from watcher.stores.output_metadata import output_text
from watcher.testing import MemoryStore

RECIPE = Recipe("memory://source", "digest", {})
NEVER = threading.Event()


class Counting(MemoryStore):
    """A store that counts what it is asked."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.now = 100.0
        self.asked: Counter[str] = Counter()
        self.on_request: Callable[[], None] = lambda: None

    def list(self, below: str = "") -> Iterator[ImageRef]:
        self.asked["list"] += 1
        return super().list(below)

    def output_info(self, key: str) -> OutputInfo | None:
        self.asked["output_info"] += 1
        self.on_request()
        return super().output_info(key)


@pytest.fixture
def source() -> Counting:
    return Counting("memory://source")


@pytest.fixture
def sink() -> Counting:
    return Counting("memory://sink")


def make_output(sink: Counting, job: Job, recipe: Recipe = RECIPE) -> None:
    """What a worker would have put there."""
    for output in recipe.outputs_of(job.ref):
        sink.write(output.key, encode(Cutout(np.zeros((2, 2, 4), np.uint8)), text=output_text(output)))


def compare(
    source: Counting, sink: Counting, *, recipe: Recipe = RECIPE, deep: bool = False
) -> tuple[dict[str, OutputState], Counter[OutputState]]:
    comparison = ListingComparison(recipe, source, sink, SourceFilter(["cutouts"]), deep=deep)
    return {ref.key: state for ref, state in comparison.outstanding(NEVER)}, comparison.found


def test_an_image_with_an_output_is_done_and_others_are_missing(source: Counting, sink: Counting) -> None:
    jobs = [RECIPE.job(source.write(key, b"x")) for key in ("a.jpg", "b/c.jpg", "d.jpg")]
    make_output(sink, jobs[1])
    outstanding, found = compare(source, sink)
    assert outstanding == {"a.jpg": OutputState.MISSING, "d.jpg": OutputState.MISSING}
    assert found == {OutputState.MISSING: 2, OutputState.DONE: 1}


def test_only_pictures_of_the_source_count(source: Counting, sink: Counting) -> None:
    for key in ("read.me", ".hidden.jpg", "cutouts/a.png", "a/.x/b.jpg"):
        source.write(key, b"x")
    assert compare(source, sink) == ({}, {})


def test_an_output_that_is_older_than_its_image_is_outdated(source: Counting, sink: Counting) -> None:
    make_output(sink, RECIPE.job(source.write("a.jpg", b"x")))
    source.now = 102.0
    source.write("a.jpg", b"y")
    sink.asked.clear()
    assert compare(source, sink)[0] == {"a.jpg": OutputState.OUTDATED}
    assert "output_info" not in sink.asked


@pytest.mark.parametrize("moment", [99.5, 100.0, 101.0])
def test_an_output_of_the_same_time_is_asked_once(source: Counting, sink: Counting, moment: float) -> None:
    sink.now = moment
    for key in ("same.jpg", "changed.jpg"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    source.write("changed.jpg", b"y")
    verified = RecentImages()
    for held in (2, 1):
        sink.asked.clear()
        comparison = ListingComparison(RECIPE, source, sink, SourceFilter(), verified=verified)
        assert [(ref.key, state) for ref, state in comparison.outstanding(NEVER)] == [
            ("changed.jpg", OutputState.OUTDATED)
        ]
        assert sink.asked["output_info"] == held, "what is done is remembered"


def test_with_two_clocks_the_tolerance_is_wider(source: Counting, sink: Counting) -> None:
    sink.now = 100.0 - 60.0
    make_output(sink, RECIPE.job(source.write("a.jpg", b"x")))
    assert compare(source, sink)[0] == {"a.jpg": OutputState.OUTDATED}
    wider = ListingComparison(RECIPE, source, sink, SourceFilter(), clock_tolerance=OTHER_CLOCK_TOLERANCE)
    assert list(wider.outstanding(NEVER)) == []


def test_a_shallow_comparison_requests_only_listings(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    for number in range(50):
        job = RECIPE.job(source.write(f"{number}.jpg", b"x"))
        if number % 2:
            make_output(sink, job)
    sink.asked.clear()
    outstanding, _ = compare(source, sink)
    assert len(outstanding) == 25
    assert sink.asked == {"list": 2}


def test_a_deep_comparison_asks_every_output_which_job_made_it(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    for key in ("a.jpg", "b.jpg"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    source.write("c.jpg", b"x")
    other = replace(RECIPE, model="another")
    make_output(sink, other.job(ImageRef("b.jpg", "2", 1)), other)
    sink.asked.clear()
    assert compare(source, sink, recipe=other)[0] == {"c.jpg": OutputState.MISSING}
    assert compare(source, sink, recipe=other, deep=True)[0] == {
        "a.jpg": OutputState.OUTDATED,
        "c.jpg": OutputState.MISSING,
    }
    assert sink.asked["output_info"] == 2


def test_a_rejected_image_is_left_alone_until_it_changes(source: Counting, sink: Counting) -> None:
    job = RECIPE.job(source.write("a b/ü.jpg", b"x"))
    write_error_record(sink, job, Rejection(Reason.TRUNCATED, "The file ends early."))
    assert compare(source, sink) == ({}, {OutputState.REJECTED: 1})
    source.now = 101.0
    source.write("a b/ü.jpg", b"y")
    assert compare(source, sink)[0] == {"a b/ü.jpg": OutputState.MISSING}


def test_a_multipart_upload_is_asked_because_its_time_is_that_of_its_start(source: Counting, sink: Counting) -> None:
    sink.now = 200.0
    ref = replace(source.write("a.jpg", b"x"), version="d41d8cd9-2")
    source._objects["a.jpg"] = ref, b"x"
    make_output(sink, RECIPE.job(replace(ref, version="older-2")))
    assert compare(source, sink)[0] == {"a.jpg": OutputState.OUTDATED}


def test_it_stops_between_two_requests(source: Counting, sink: Counting) -> None:
    for number in range(300):
        make_output(sink, RECIPE.job(source.write(f"{number}.jpg", b"x")))
    stop = threading.Event()
    sink.on_request = stop.set
    assert list(ListingComparison(RECIPE, source, sink, SourceFilter(), deep=True).outstanding(stop)) == []
    assert sink.asked["output_info"] <= 2 * REQUEST_BATCH


def test_it_stops_between_two_chunks(source: Counting, sink: Counting) -> None:
    source.write("a.jpg", b"x")
    stop = threading.Event()
    stop.set()
    assert list(ListingComparison(RECIPE, source, sink, SourceFilter()).outstanding(stop)) == []


def test_images_whose_outputs_have_another_order_are_found(source: Counting, sink: Counting) -> None:
    for key in ("a.jpg", "a.k.jpg", "b.png", "b.a.png"):
        make_output(sink, RECIPE.job(source.write(key, b"x")))
    assert compare(source, sink) == ({}, {OutputState.DONE: 4})


@given(st.sets(st.text("ab./-é日", min_size=1, max_size=6), max_size=30), st.data())
def test_any_names_and_patterns_give_the_result_of_single_requests(stems: set[str], data: st.DataObject) -> None:
    source, sink = Counting("memory://source"), Counting("memory://sink")
    pattern = data.draw(st.sampled_from(["{dir}{stem}.png", "{stem}.png", "x/{ext}/{name}.png"]))
    recipe = replace(RECIPE, outputs=(OutputRecipe(pattern=pattern),))
    endings = data.draw(st.lists(st.sampled_from(["jpg", "png", "webp"]), min_size=len(stems), max_size=len(stems)))
    jobs = [recipe.job(source.write(f"{stem}.{end}", b"x")) for stem, end in zip(sorted(stems), endings, strict=True)]
    accepted = [job for job in jobs if SourceFilter().accepts(job.ref.key)]
    for job in accepted:
        if data.draw(st.booleans()):
            make_output(sink, job, recipe)
    there = {ref.key for ref in sink.list()}
    outstanding, found = compare(source, sink, recipe=recipe)
    wanted = {job.ref.key for job in accepted if job.output not in there and not job.ref.key.startswith("cutouts/")}
    assert {key for key, state in outstanding.items() if state is OutputState.MISSING} == wanted
    assert sum(found.values()) == len(accepted)


def test_a_cursor_asks_only_for_keys_that_lie_behind() -> None:
    refs = [ImageRef(key, "1", 1) for key in ("a", "c", "e")]
    asked: list[str] = []

    def ask(key: str) -> ImageRef | None:
        asked.append(key)
        return next((ref for ref in refs if ref.key == key), None)

    cursor = ListingCursor(iter(refs), ask)
    assert [cursor.find(key) is not None for key in ("a", "a", "b", "c", "d")] == [True, True, False, True, False]
    assert asked == []
    assert cursor.find("c") is not None
    assert asked == ["c"]
    assert cursor.find("z") is None
