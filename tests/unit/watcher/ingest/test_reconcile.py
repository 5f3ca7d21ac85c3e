"""Arrivals become jobs, passes over a bucket say what is to be done, and what was lost is said again."""

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
from watcher.core.jobs import ImageRef, Job, Lease, Outcome, Recipe
from watcher.ingest.comparison import REMEMBERED, Recent
from watcher.ingest.reconcile import RESEND, Patrol, Reconciler
from watcher.queues.base import QueueStats
from watcher.queues.sqlite import SqliteQueue
from watcher.sources.base import Arrival, Hint
from watcher.sources.names import SourceFilter
from watcher.stores.base import INTERNAL_PREFIX
from watcher.stores.output_metadata import png_text
from watcher.testing import MemoryStore

RECIPE = Recipe("memory://source", "digest", {})
NEVER = threading.Event()


class Outbox:
    """A queue that only takes, as a broker's looks to `watch`."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.waiting = 0

    def put(self, jobs: Sequence[Job]) -> int:
        self.jobs += jobs
        return len(jobs)

    def lease(self, owner: str, limit: int, *, alone: bool) -> list[Lease]:
        return []

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
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def shared(source: MemoryStore, sink: MemoryStore, outbox: Outbox) -> Reconciler:
    """On one side a broker's queue, which knows nothing of what is done."""
    return Reconciler(RECIPE, source, sink, outbox, None)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as opened:
        yield opened


def write_output(sink: MemoryStore, job: Job) -> None:
    sink.write(job.output, encode(Cutout(np.zeros((2, 2, 4), np.uint8)), text=png_text(job)))


def arrivals(hint: Hint, *refs: ImageRef) -> list[Arrival]:
    return [Arrival(ref, hint) for ref in refs]


def keys(jobs: list[Job]) -> list[str]:
    return [job.ref.key for job in jobs]


# Arrivals.


def test_a_broker_gets_every_event_and_of_a_listing_what_the_sink_has_not(
    shared: Reconciler, source: MemoryStore, sink: MemoryStore, outbox: Outbox
) -> None:
    done, new = source.write("done.jpg", b"x"), source.write("new.jpg", b"x")
    write_output(sink, RECIPE.job(done))
    assert shared.accept(arrivals(Hint.SCAN, done, new)) == 1
    assert shared.accept(arrivals(Hint.EVENT, done)) == 1
    assert keys(outbox.jobs) == ["new.jpg", "done.jpg"]


def test_a_listing_is_handed_over_again_when_the_sink_could_not_be_asked(
    shared: Reconciler, source: MemoryStore, sink: MemoryStore, outbox: Outbox
) -> None:
    ref = source.write("a.jpg", b"x")
    sink.failing["output_info"] = Unavailable("no network")
    with pytest.raises(Unavailable):
        shared.accept(arrivals(Hint.SCAN, ref))
    sink.failing.clear()
    assert shared.accept(arrivals(Hint.SCAN, ref)) == 1


def test_the_embedded_queue_takes_a_job_once_and_again_when_its_output_is_missing(
    source: MemoryStore, sink: MemoryStore, queue: SqliteQueue
) -> None:
    reconciler = Reconciler(RECIPE, source, sink, queue, queue)
    ref = source.write("a.jpg", b"x")
    assert reconciler.accept(arrivals(Hint.EVENT, ref)) == 1
    assert reconciler.accept(arrivals(Hint.RECONCILE, ref)) == 0
    (lease,) = queue.lease("w", 1, alone=True)
    write_output(sink, lease.job)
    lease.done(Outcome.WRITTEN)
    assert reconciler.accept(arrivals(Hint.SCAN, ref)) == 0
    sink.remove(lease.job.output)
    assert reconciler.accept(arrivals(Hint.SCAN, ref)) == 1


# Passes.


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def patrol(shared: Reconciler, clock: Clock) -> Patrol:
    return Patrol(shared, SourceFilter(), clock=clock)


def one_pass(patrol: Patrol) -> list[str]:
    found = [ref.key for ref in patrol.find(NEVER)]
    patrol.finished()
    return found


def test_what_was_said_is_not_said_again_while_it_may_wait(
    patrol: Patrol, source: MemoryStore, outbox: Outbox, clock: Clock
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert one_pass(patrol) == ["a.jpg"]
    source.write("b.jpg", b"x")
    assert one_pass(patrol) == ["b.jpg"]
    assert one_pass(patrol) == []


def test_a_new_version_is_said_at_once(patrol: Patrol, source: MemoryStore, outbox: Outbox) -> None:
    outbox.waiting = 1
    source.write("a.jpg", b"x")
    assert one_pass(patrol) == ["a.jpg"]
    source.write("a.jpg", b"y")
    assert one_pass(patrol) == ["a.jpg"]


def test_what_was_lost_on_its_way_is_said_again_when_the_queue_has_run_empty(
    patrol: Patrol, source: MemoryStore, outbox: Outbox
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert (one_pass(patrol), one_pass(patrol)) == (["a.jpg"], [])
    outbox.waiting = 0
    assert one_pass(patrol) == ["a.jpg"]


def test_what_was_lost_in_a_queue_that_never_runs_empty_is_said_again_after_an_hour(
    patrol: Patrol, source: MemoryStore, outbox: Outbox, clock: Clock
) -> None:
    source.write("a.jpg", b"x")
    outbox.waiting = 1
    assert one_pass(patrol) == ["a.jpg"]
    clock.now += RESEND - 1
    assert one_pass(patrol) == []
    clock.now += 1
    assert one_pass(patrol) == ["a.jpg"]


class BreaksOff(MemoryStore):
    """A listing that fails after its first objects, as often as it is told."""

    failures = 1

    def list(self, below: str = "") -> Iterator[ImageRef]:
        refs = list(super().list(below))
        yield from refs[:1]
        if self.failures and refs:
            self.failures -= 1
            raise Unavailable("connection reset")
        yield from refs[1:]


def test_a_pass_that_breaks_off_is_made_again_from_its_start(sink: MemoryStore, outbox: Outbox, clock: Clock) -> None:
    source = BreaksOff("memory://source")
    patrol = Patrol(Reconciler(RECIPE, source, sink, outbox, None), SourceFilter(), clock=clock)
    for key in ("a.jpg", "b.jpg"):
        source.write(key, b"x")
    outbox.waiting = 1
    with pytest.raises(Unavailable):
        one_pass(patrol)
    assert one_pass(patrol) == ["a.jpg", "b.jpg"]


def mark_of(sink: MemoryStore) -> list[str]:
    return [key for key in sink.keys if key.startswith(INTERNAL_PREFIX)]


def test_after_a_change_of_model_passes_are_deep_until_one_finds_nothing_to_do(
    source: MemoryStore, sink: MemoryStore, outbox: Outbox
) -> None:
    sink.now = 100.0
    old = RECIPE.job(source.write("a.jpg", b"x"))
    write_output(sink, old)
    recipe = replace(RECIPE, model="another")
    patrol = Patrol(Reconciler(recipe, source, sink, outbox, None), SourceFilter())
    assert one_pass(patrol) == ["a.jpg"]
    outbox.waiting = 1
    assert one_pass(patrol) == []  # it waits, and as far as the listings tell it is done
    assert mark_of(sink) == []
    outbox.waiting = 0  # the message is lost
    assert one_pass(patrol) == ["a.jpg"]
    write_output(sink, recipe.job(old.ref))
    assert one_pass(patrol) == []
    assert len(mark_of(sink)) == 1
    write_output(sink, old)
    assert one_pass(patrol) == [], "with the mark, listings are trusted"


def test_a_deep_pass_that_was_not_taken_whole_is_made_again(shared: Reconciler, source: MemoryStore) -> None:
    other = replace(RECIPE, model="another")
    assert isinstance(shared.sink, MemoryStore)
    shared.sink.now = 100.0
    write_output(shared.sink, RECIPE.job(source.write("a.jpg", b"x")))
    first = Patrol(replace(shared, recipe=other), SourceFilter())
    assert [ref.key for ref in first.find(NEVER)] == ["a.jpg"]  # and then it is killed
    assert one_pass(Patrol(replace(shared, recipe=other), SourceFilter())) == ["a.jpg"]


def test_a_broker_never_gets_more_than_can_be_remembered_until_it_has_run_empty(
    shared: Reconciler, source: MemoryStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.ingest.reconcile.Recent", lambda: Recent(3))
    for number in range(5):
        source.write(f"{number}.jpg", b"x")
    patrol = Patrol(shared, SourceFilter())
    outbox.waiting = 1
    assert (len(one_pass(patrol)), len(one_pass(patrol))) == (3, 0)
    outbox.waiting = 0
    assert len(one_pass(patrol)) == 3


def test_what_is_just_being_written_waits_for_a_later_pass(shared: Reconciler, source: MemoryStore) -> None:
    source.now = time.time()
    source.write("young.jpg", b"x")
    source.now -= 3600
    source.write("old.jpg", b"x")
    assert one_pass(Patrol(shared, SourceFilter(), settle=60.0)) == ["old.jpg"]
    assert one_pass(Patrol(shared, SourceFilter())) == ["old.jpg", "young.jpg"]


def test_where_asking_costs_nothing_every_pass_is_deep_and_leaves_no_mark(
    shared: Reconciler, source: MemoryStore, sink: MemoryStore
) -> None:
    job = RECIPE.job(source.write("a.jpg", b"x"))
    write_output(sink, replace(job, id="0" * 64))
    patrol = Patrol(shared, SourceFilter(), deep=True)
    assert (one_pass(patrol), one_pass(patrol)) == (["a.jpg"], ["a.jpg"])
    assert sink.keys == {"a.png"}


def test_the_memory_of_what_was_said_is_bounded() -> None:
    recent = Recent(3)
    refs = [ImageRef(f"{number}.jpg", "1", 1) for number in range(5)]
    assert [recent.add(ref) for ref in refs] == [True] * 5
    assert [recent.add(ref) for ref in refs[2:]] == [False] * 3
    assert recent.add(refs[0])
    assert REMEMBERED >= 100_000
