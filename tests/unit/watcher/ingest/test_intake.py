"""Arrivals are taken from every source, whatever happens to source or queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.equipment.support import wait_until
from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.jobs import ImageRef, Job, Lease, Recipe
from watcher.ingest.intake import Intake, MakeSource
from watcher.ingest.reconcile import Reconciler
from watcher.queues.base import QueueStats
from watcher.sources.base import Arrival, Hint, SourceNews, Stop
from watcher.sources.events import encode_arrival
from watcher.sources.names import SourceFilter
from watcher.sources.notices import Notices
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.testing import MemoryStore

SOURCE = "s3://shop/in/"


class Outbox:
    """A queue that only takes, and refuses as often as it is told."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.refusals = 0

    def put(self, jobs: Sequence[Job]) -> int:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the broker is down")
        self.keys += [job.ref.key for job in jobs]
        return len(jobs)

    def lease(self, owner: str, limit: int, *, alone: bool) -> list[Lease]:
        return []

    def suspects(self) -> int:
        return 0

    def stats(self) -> QueueStats:
        return QueueStats()

    def close(self) -> None:
        """Nothing is open."""


class Told:
    """A source that yields what it was told, one list for each time it is opened; an error is raised."""

    def __init__(self, *lives: list[str] | Exception) -> None:
        self._lives = list(lives)

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        life = self._lives.pop(0) if self._lives else []
        if isinstance(life, Exception):
            raise life
        yield [Arrival(ImageRef(key, "etag", 5), Hint.RECONCILE) for key in life]
        yield []
        stop.wait()


@dataclass
class Bench:
    """An intake with all around it within reach."""

    outbox: Outbox = field(default_factory=Outbox)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=lambda: Health("source"))
    run_summary: RunSummary = field(default_factory=RunSummary)
    woken: threading.Event = field(default_factory=threading.Event)

    def intake(self, **sources: MakeSource) -> Intake:
        store = MemoryStore(SOURCE)
        reconciler = Reconciler(Recipe(SOURCE, "digest", {}), store, MemoryStore("memory://sink"), self.outbox, None)
        notices = Notices(store, SourceFilter())
        return Intake(reconciler, sources, notices, self.metrics, self.health, self.run_summary, self.woken.set)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("watcher.ingest.intake.PAUSE", 0.01)
    return Bench()


def started(intake: Intake) -> Intake:
    intake.start()
    return intake


def test_what_arrives_is_enqueued_and_the_workers_are_woken(bench: Bench) -> None:
    intake = started(bench.intake(source=lambda news: Told(["a.jpg", "b.jpg"])))
    wait_until(lambda: bench.run_summary.listed)
    intake.stop()
    assert bench.outbox.keys == ["a.jpg", "b.jpg"]
    assert bench.woken.is_set()
    assert bench.health.unready() == {}
    assert "alphadrop_source_healthy 1.0" in bench.metrics.render()[0].decode()


def test_an_arrival_outlives_a_queue_in_trouble_which_makes_us_unready(bench: Bench) -> None:
    bench.outbox.refusals = 3
    said: list[dict[str, str]] = []
    bench.health.set = lambda part, ok, why="": said.append({part: why})  # type: ignore[method-assign]
    intake = started(bench.intake(source=lambda news: Told(["a.jpg"])))
    wait_until(lambda: bench.outbox.keys)
    intake.stop()
    assert said.count({"queue": Unavailable.public}) == 3
    assert bench.outbox.keys == ["a.jpg"]


@pytest.mark.parametrize("error", [Unavailable("no network"), KeyError("a bug")])
def test_a_source_that_fails_is_opened_again_and_its_trouble_is_told(bench: Bench, error: Exception) -> None:
    source = Told(error, ["a.jpg"])
    intake = started(bench.intake(source=lambda news: source))
    wait_until(lambda: bench.outbox.keys)
    intake.stop()
    assert bench.run_summary.transient_errors == 1 and str(error) in bench.run_summary.last_error
    assert bench.health.unready() == {}
    assert 'alphadrop_reconcile_runs_total{result="failed"} 1.0' in bench.metrics.render()[0].decode()


def test_one_source_in_trouble_does_not_stop_the_other(bench: Bench) -> None:
    def broken(news: SourceNews) -> Told:
        raise Unavailable("no broker")

    intake = started(bench.intake(source=lambda news: Told(["a.jpg"]), events=broken))
    wait_until(lambda: bench.outbox.keys and "events" in bench.health.unready())
    intake.stop()
    assert bench.health.unready()["events"] == Unavailable.public
    assert "source" not in bench.health.unready()


def test_what_is_posted_is_in_the_queue_when_the_call_returns(bench: Bench) -> None:
    bench.intake().post(encode_arrival(SOURCE, ImageRef("a.jpg", "etag", 5)))
    assert bench.outbox.keys == ["a.jpg"]


def test_what_cannot_be_enqueued_is_refused_to_whoever_posts_it(bench: Bench) -> None:
    bench.outbox.refusals = 1
    with pytest.raises(Unavailable):
        bench.intake().post(encode_arrival(SOURCE, ImageRef("a.jpg", "etag", 5)))
    with pytest.raises(NotAnEvent):
        bench.intake().post(b"Dear all")
    assert bench.outbox.keys == []
