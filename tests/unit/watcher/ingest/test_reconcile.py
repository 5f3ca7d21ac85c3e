"""Arrivals become jobs; comparisons find outstanding images, and find them again if their jobs were lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.codec import encode
from inference.picture import Cutout
from tests.equipment.support import Clock
from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef, Job, Outcome, Output, Recipe
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.listing_comparison import MAX_RECENT, RecentImages
from watcher.ingest.reconcile import RESEND, Reconciler
from watcher.queues.base import Leases, QueueStats
from watcher.queues.outbox import MemoryOutbox
from watcher.queues.sqlite import SqliteQueue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import INTERNAL_PREFIX
from watcher.stores.output_metadata import output_text
from watcher.testing import MemoryStore

RECIPE = Recipe("memory://source", "digest", {})
NEVER = threading.Event()


class PutOnlyQueue:
    """A queue that only takes jobs, like a broker's for `watch`."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.waiting = 0
        self.outbox = MemoryOutbox()

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        self.jobs += jobs
        return len(jobs)

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        return Leases()

    def lease_last_suspect(self, owner: str) -> Leases:
        return Leases()

    def suspects(self) -> int:
        return 0

    def stats(self) -> QueueStats:
        return QueueStats(pending=self.waiting)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def source() -> MemoryStore:
    return MemoryStore("memory://source")


@pytest.fixture
def sink() -> MemoryStore:
    return MemoryStore("memory://sink")


@pytest.fixture
def outbox() -> PutOnlyQueue:
    return PutOnlyQueue()


@pytest.fixture
def shared(source: MemoryStore, sink: MemoryStore, outbox: PutOnlyQueue) -> Enqueuer:
    """With a broker's queue, which does not know what is done."""
    return Enqueuer(RECIPE, source, sink, outbox, None)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as opened:
        yield opened


def write_output(sink: MemoryStore, job: Job) -> None:
    text = output_text(Output(job.id, job.ref, job.output))
    sink.write(job.output, encode(Cutout(np.zeros((2, 2, 4), np.uint8)), text=text))


def arrivals(discovered_via: DiscoveredVia, *refs: ImageRef) -> list[Arrival]:
    return [Arrival(ref, discovered_via) for ref in refs]


def keys(jobs: list[Job]) -> list[str]:
    return [job.ref.key for job in jobs]


# Arrivals.


def test_a_broker_gets_every_event_and_the_listed_images_without_an_output(
    shared: Enqueuer, source: MemoryStore, sink: MemoryStore, outbox: PutOnlyQueue
) -> None:
    done, new = source.write("done.jpg", b"x"), source.write("new.jpg", b"x")
    write_output(sink, RECIPE.job(done))
    assert shared.accept(arrivals(DiscoveredVia.SCAN, done, new)) == 1
    assert shared.accept(arrivals(DiscoveredVia.EVENT, done)) == 1
    assert keys(outbox.jobs) == ["new.jpg", "done.jpg"]


def test_a_listing_is_accepted_again_after_the_sink_failed(
    shared: Enqueuer, source: MemoryStore, sink: MemoryStore, outbox: PutOnlyQueue
) -> None:
    ref = source.write("a.jpg", b"x")
    sink.failing["output_info"] = Unavailable("no network")
    with pytest.raises(Unavailable):
        shared.accept(arrivals(DiscoveredVia.SCAN, ref))
    sink.failing.clear()
    assert shared.accept(arrivals(DiscoveredVia.SCAN, ref)) == 1


def test_the_embedded_queue_takes_a_job_again_only_if_its_output_is_missing(
    source: MemoryStore, sink: MemoryStore, queue: SqliteQueue
) -> None:
    enqueuer = Enqueuer(RECIPE, source, sink, queue, queue)
    ref = source.write("a.jpg", b"x")
    assert enqueuer.accept(arrivals(DiscoveredVia.EVENT, ref)) == 1
    assert enqueuer.accept(arrivals(DiscoveredVia.RECONCILE, ref)) == 0
    (lease,) = queue.lease("w", 1, alone=True)
    write_output(sink, lease.job)
    lease.done(Outcome.WRITTEN)
    assert enqueuer.accept(arrivals(DiscoveredVia.SCAN, ref)) == 0
    sink.remove(lease.job.output)
    assert enqueuer.accept(arrivals(DiscoveredVia.SCAN, ref)) == 1


# Passes.


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def reconciler(shared: Enqueuer, clock: Clock) -> Reconciler:
    return Reconciler(shared, SourceFilter(), clock=clock)


def compare_once(reconciler: Reconciler) -> list[str]:
    found = [ref.key for ref in reconciler.find(NEVER)]
    reconciler.confirm()
    return found


def test_an_image_is_not_found_again_while_its_job_may_wait(
    reconciler: Reconciler, source: MemoryStore, outbox: PutOnlyQueue, clock: Clock
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert compare_once(reconciler) == ["a.jpg"]
    source.write("b.jpg", b"x")
    assert compare_once(reconciler) == ["b.jpg"]
    assert compare_once(reconciler) == []


def test_a_new_version_is_found_at_once(reconciler: Reconciler, source: MemoryStore, outbox: PutOnlyQueue) -> None:
    outbox.waiting = 1
    source.write("a.jpg", b"x")
    assert compare_once(reconciler) == ["a.jpg"]
    source.write("a.jpg", b"y")
    assert compare_once(reconciler) == ["a.jpg"]


def test_an_image_whose_job_was_lost_is_found_again_when_the_queue_is_empty(
    reconciler: Reconciler, source: MemoryStore, outbox: PutOnlyQueue
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert (compare_once(reconciler), compare_once(reconciler)) == (["a.jpg"], [])
    outbox.waiting = 0
    assert compare_once(reconciler) == ["a.jpg"]


def test_what_another_source_lists_at_the_start_is_found_only_once_the_queue_is_empty(
    shared: Enqueuer, source: MemoryStore, outbox: PutOnlyQueue
) -> None:
    reconciler = Reconciler(shared, SourceFilter(), listed_elsewhere=True)
    source.write("a.jpg", b"x")
    assert compare_once(reconciler) == []
    outbox.waiting = 1
    source.write("b.jpg", b"x")
    assert compare_once(reconciler) == ["b.jpg"]
    outbox.waiting = 0
    assert compare_once(reconciler) == ["a.jpg", "b.jpg"]


def test_an_empty_queue_has_lost_nothing_while_the_other_source_still_waits_for_its_images(
    shared: Enqueuer, source: MemoryStore, outbox: PutOnlyQueue
) -> None:
    reconciler = Reconciler(shared, SourceFilter(), settle=60, listed_elsewhere=True)
    source.write("young.jpg", b"x")
    assert compare_once(reconciler) == compare_once(reconciler) == []
    outbox.waiting = 1
    assert compare_once(reconciler) == []


def test_an_image_is_found_again_after_an_hour_if_the_queue_is_never_empty(
    reconciler: Reconciler, source: MemoryStore, outbox: PutOnlyQueue, clock: Clock
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert compare_once(reconciler) == ["a.jpg"]
    clock.now += RESEND - 1
    assert compare_once(reconciler) == []
    clock.now += 1
    assert compare_once(reconciler) == ["a.jpg"]


class BreaksOff(MemoryStore):
    """A store whose listing fails after the first object, `failures` times."""

    failures = 1

    def list(self, below: str = "") -> Iterator[ImageRef]:
        refs = list(super().list(below))
        yield from refs[:1]
        if self.failures and refs:
            self.failures -= 1
            raise Unavailable("connection reset")
        yield from refs[1:]


def test_a_comparison_that_breaks_off_starts_over(sink: MemoryStore, outbox: PutOnlyQueue, clock: Clock) -> None:
    source = BreaksOff("memory://source")
    reconciler = Reconciler(Enqueuer(RECIPE, source, sink, outbox, None), SourceFilter(), clock=clock)
    for key in ("a.jpg", "b.jpg"):
        source.write(key, b"x")
    outbox.waiting = 1
    with pytest.raises(Unavailable):
        compare_once(reconciler)
    assert compare_once(reconciler) == ["a.jpg", "b.jpg"]


def marker_of(sink: MemoryStore) -> list[str]:
    return [key for key in sink.keys if key.startswith(INTERNAL_PREFIX)]


def test_after_a_change_of_model_comparisons_are_deep_until_one_finds_nothing(
    source: MemoryStore, sink: MemoryStore, outbox: PutOnlyQueue
) -> None:
    sink.now = 100.0
    old = RECIPE.job(source.write("a.jpg", b"x"))
    write_output(sink, old)
    recipe = replace(RECIPE, model="another")
    reconciler = Reconciler(Enqueuer(recipe, source, sink, outbox, None), SourceFilter())
    assert compare_once(reconciler) == ["a.jpg"]
    outbox.waiting = 1
    assert compare_once(reconciler) == []  # it waits, and as far as the listings tell it is done
    assert marker_of(sink) == []
    outbox.waiting = 0  # the message is lost
    assert compare_once(reconciler) == ["a.jpg"]
    write_output(sink, recipe.job(old.ref))
    assert compare_once(reconciler) == []
    assert len(marker_of(sink)) == 1
    write_output(sink, old)
    assert compare_once(reconciler) == [], "with the mark, listings are trusted"


def test_a_deep_comparison_that_was_not_confirmed_is_repeated(shared: Enqueuer, source: MemoryStore) -> None:
    other = replace(RECIPE, model="another")
    assert isinstance(shared.sink, MemoryStore)
    shared.sink.now = 100.0
    write_output(shared.sink, RECIPE.job(source.write("a.jpg", b"x")))
    first = Reconciler(replace(shared, recipe=other), SourceFilter())
    assert [ref.key for ref in first.find(NEVER)] == ["a.jpg"]  # and then it is killed
    assert compare_once(Reconciler(replace(shared, recipe=other), SourceFilter())) == ["a.jpg"]


def test_a_broker_gets_no_more_images_than_are_remembered_until_it_is_empty(
    shared: Enqueuer, source: MemoryStore, outbox: PutOnlyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.ingest.reconcile.RecentImages", lambda: RecentImages(3))
    for number in range(5):
        source.write(f"{number}.jpg", b"x")
    reconciler = Reconciler(shared, SourceFilter())
    outbox.waiting = 1
    assert (len(compare_once(reconciler)), len(compare_once(reconciler))) == (3, 0)
    outbox.waiting = 0
    assert len(compare_once(reconciler)) == 3


def test_an_image_that_is_being_written_is_left_for_a_later_comparison(shared: Enqueuer, source: MemoryStore) -> None:
    source.now = time.time()
    source.write("young.jpg", b"x")
    source.now -= 3600
    source.write("old.jpg", b"x")
    assert compare_once(Reconciler(shared, SourceFilter(), settle=60.0)) == ["old.jpg"]
    assert compare_once(Reconciler(shared, SourceFilter())) == ["old.jpg", "young.jpg"]


def test_an_image_from_a_camera_whose_clock_is_wrong_is_not_left_for_ever(
    shared: Enqueuer, source: MemoryStore
) -> None:
    source.now = time.time() + 3 * 86_400
    source.write("of next week.jpg", b"x")
    assert compare_once(Reconciler(shared, SourceFilter(), settle=60.0)) == ["of next week.jpg"]


def test_with_deep_every_comparison_is_deep_and_sets_no_marker(
    shared: Enqueuer, source: MemoryStore, sink: MemoryStore
) -> None:
    job = RECIPE.job(source.write("a.jpg", b"x"))
    write_output(sink, replace(job, id="0" * 64))
    reconciler = Reconciler(shared, SourceFilter(), deep=True)
    assert (compare_once(reconciler), compare_once(reconciler)) == (["a.jpg"], ["a.jpg"])
    assert sink.keys == {"a.png"}


def test_the_memory_of_found_images_is_bounded() -> None:
    recent = RecentImages(3)
    refs = [ImageRef(f"{number}.jpg", "1", 1) for number in range(5)]
    assert [recent.add(ref) for ref in refs] == [True] * 5
    assert [recent.add(ref) for ref in refs[2:]] == [False] * 3
    assert recent.add(refs[0])
    assert MAX_RECENT >= 100_000
