"""Arrivals get from every source into the queue, whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from tests.equipment.support import wait_until
from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.jobs import ImageRef, Job, Recipe
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.intake import Intake, SourceFactory
from watcher.queues.base import Leases, QueueStats
from watcher.queues.outbox import MemoryOutbox
from watcher.sources.base import Arrival, DiscoveredVia, SourceCallbacks, Stop
from watcher.sources.event_resolver import EventResolver
from watcher.sources.events import encode_arrival
from watcher.sources.source_filter import SourceFilter
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.testing import MemoryStore

SOURCE = "s3://shop/in/"


class PutOnlyQueue:
    """A queue that only takes jobs, and refuses the first `refusals` calls."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.refusals = 0
        self.outbox = MemoryOutbox()

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the broker is down")
        self.keys += [job.ref.key for job in jobs]
        return len(jobs)

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        return Leases()

    def lease_last_suspect(self, owner: str) -> Leases:
        return Leases()

    def suspects(self) -> int:
        return 0

    def stats(self) -> QueueStats:
        return QueueStats()

    def close(self) -> None:
        """Nothing is open."""


class ScriptedSource:
    """A source with a script: each time it is opened, it yields a list of keys, raises an error, or sets an event.

    With an event, it reports that it works and yields nothing.
    """

    callbacks = SourceCallbacks()

    def __init__(self, *lives: list[str] | Exception | threading.Event) -> None:
        self._lives = list(lives)
        self.forgotten: list[str] = []

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        life = self._lives.pop(0) if self._lives else []
        if isinstance(life, Exception):
            raise life
        if isinstance(life, threading.Event):
            self.callbacks.on_health(True, "")
            life.set()
            stop.wait()
            return
        yield [Arrival(ImageRef(key, "etag", 5), DiscoveredVia.RECONCILE) for key in life]
        yield []
        stop.wait()

    def reporting(self, callbacks: SourceCallbacks) -> ScriptedSource:
        self.callbacks = callbacks
        return self

    def forget(self, key: str) -> None:
        self.forgotten.append(key)


@dataclass
class Bench:
    """An intake and everything that it uses."""

    outbox: PutOnlyQueue = field(default_factory=PutOnlyQueue)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=lambda: Health("source"))
    run_summary: RunSummary = field(default_factory=RunSummary)
    woken: threading.Event = field(default_factory=threading.Event)

    def intake(self, **sources: SourceFactory) -> Intake:
        store = MemoryStore(SOURCE)
        enqueuer = Enqueuer(Recipe(SOURCE, "digest", {}), store, MemoryStore("memory://sink"), self.outbox, None)
        resolver = EventResolver(store, SourceFilter())
        return Intake(enqueuer, sources, resolver, self.metrics, self.health, self.run_summary, self.woken.set)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("watcher.ingest.intake.RETRY", (0.01, 0.01))
    return Bench()


def started(intake: Intake) -> Intake:
    intake.start()
    return intake


def test_arrivals_are_enqueued_and_the_workers_are_woken(bench: Bench) -> None:
    intake = started(bench.intake(source=lambda callbacks: ScriptedSource(["a.jpg", "b.jpg"])))
    wait_until(lambda: bench.run_summary.listed)
    intake.stop()
    assert bench.outbox.keys == ["a.jpg", "b.jpg"]
    assert bench.woken.is_set()
    assert bench.health.unready() == {}
    assert "alphadrop_source_healthy 1.0" in bench.metrics.render()[0].decode()


def test_folders_that_cannot_be_read_make_it_unready_until_they_can(bench: Bench) -> None:
    source = ScriptedSource(["a.jpg"])
    intake = started(bench.intake(source=source.reporting))
    wait_until(lambda: bench.run_summary.listed)
    source.callbacks.on_unreadable_folders(2)
    assert bench.health.unready() == {"source_folders": "2 folders of the source cannot be read; the log names them"}
    assert bench.run_summary.unreadable_folders == 2
    source.callbacks.on_unreadable_folders(0)
    assert bench.health.unready() == {}
    intake.stop()


def test_no_arrival_is_lost_when_the_queue_fails_and_it_is_unready_meanwhile(bench: Bench) -> None:
    bench.outbox.refusals = 3
    said: list[dict[str, str]] = []
    bench.health.set = lambda part, ready, reason="": said.append({part: reason})  # type: ignore[method-assign]
    intake = started(bench.intake(source=lambda callbacks: ScriptedSource(["a.jpg"])))
    wait_until(lambda: bench.outbox.keys)
    intake.stop()
    assert said.count({"queue": Unavailable.public}) == 3
    assert bench.outbox.keys == ["a.jpg"]


@pytest.mark.parametrize("error", [Unavailable("no network"), KeyError("a bug")])
def test_a_source_that_fails_is_opened_again_and_its_error_is_recorded(bench: Bench, error: Exception) -> None:
    source = ScriptedSource(error, ["a.jpg"])
    intake = started(bench.intake(source=lambda callbacks: source))
    wait_until(lambda: bench.run_summary.listed)
    intake.stop()
    assert bench.run_summary.transient_errors == 1 and str(error) in bench.run_summary.last_error
    assert bench.health.unready() == {}
    assert 'alphadrop_reconcile_runs_total{result="failed"} 1.0' in bench.metrics.render()[0].decode()


def test_an_outage_of_a_source_is_two_log_lines_however_long_it_lasts(bench: Bench) -> None:
    source = ScriptedSource(*[Unavailable("s3://shop/in/secret.jpg: no network")] * 20, ["a.jpg"])
    with capture_logs() as lines:
        intake = started(bench.intake(source=lambda callbacks: source))
        wait_until(lambda: bench.run_summary.listed)
        intake.stop()
    assert [line["event"] for line in lines] == ["source_failed", "source_recovered"]
    assert bench.run_summary.transient_errors == 20


def test_a_listing_that_fails_halfway_each_time_is_one_outage(bench: Bench) -> None:
    class Halfway(ScriptedSource):
        def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
            batches = super().arrivals(stop)
            yield next(batches)
            if bench.run_summary.transient_errors < 20:
                raise Unavailable("the second page is denied")
            yield from batches

    with capture_logs() as lines:
        intake = started(bench.intake(source=lambda callbacks: Halfway(["a.jpg"])))
        wait_until(lambda: bench.run_summary.listed)
        intake.stop()
    assert [line["event"] for line in lines] == ["source_failed", "source_recovered"]
    assert bench.run_summary.transient_errors == 20


def test_an_outage_of_the_queue_is_two_log_lines_however_long_it_lasts(bench: Bench) -> None:
    bench.outbox.refusals = 20
    with capture_logs() as lines:
        intake = started(bench.intake(source=lambda callbacks: ScriptedSource(["a.jpg"])))
        wait_until(lambda: bench.run_summary.listed)
        intake.stop()
    assert [line["event"] for line in lines] == ["enqueue_failed", "enqueue_recovered"]


def test_a_source_that_reports_that_it_works_ends_the_outage_without_an_arrival(bench: Bench) -> None:
    source = ScriptedSource(Unavailable("no broker"), silent := threading.Event())
    with capture_logs() as lines:
        intake = started(bench.intake(events=lambda callbacks: source.reporting(callbacks)))
        wait_until(silent.is_set)
        wait_until(lambda: "events" not in bench.health.unready())
        intake.stop()
    assert [line["event"] for line in lines] == ["events_failed", "events_recovered"]


def test_every_source_forgets_an_image_that_a_worker_did_not_find(bench: Bench) -> None:
    sources = [ScriptedSource(["a.jpg"]), ScriptedSource(["b.jpg"])]
    intake = started(bench.intake(source=lambda callbacks: sources[0], events=lambda callbacks: sources[1]))
    wait_until(lambda: len(bench.outbox.keys) == 2)
    intake.forget("a.jpg")
    intake.stop()
    assert [source.forgotten for source in sources] == [["a.jpg"], ["a.jpg"]]


def test_a_source_that_fails_does_not_stop_the_other(bench: Bench) -> None:
    def broken(callbacks: SourceCallbacks) -> ScriptedSource:
        raise Unavailable("no broker")

    intake = started(bench.intake(source=lambda callbacks: ScriptedSource(["a.jpg"]), events=broken))
    wait_until(lambda: bench.outbox.keys and "events" in bench.health.unready())
    intake.stop()
    assert bench.health.unready()["events"] == Unavailable.public
    assert "source" not in bench.health.unready()


def test_a_posted_image_is_in_the_queue_when_the_call_returns(bench: Bench) -> None:
    bench.intake().post(encode_arrival(SOURCE, ImageRef("a.jpg", "etag", 5)))
    assert bench.outbox.keys == ["a.jpg"]


def test_a_post_fails_if_its_image_cannot_be_enqueued(bench: Bench) -> None:
    bench.outbox.refusals = 1
    with pytest.raises(Unavailable):
        bench.intake().post(encode_arrival(SOURCE, ImageRef("a.jpg", "etag", 5)))
    with pytest.raises(NotAnEvent):
        bench.intake().post(b"Dear all")
    assert bench.outbox.keys == []
