"""Takes arrivals from every source, each in a thread of its own, and from the web server, into the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from watcher.core.backoff import Backoff
from watcher.core.errors import Unavailable, public
from watcher.core.outage import Outage
from watcher.ingest.enqueue import Enqueuer
from watcher.sources.base import Arrival, DiscoveredVia, Source, SourceCallbacks
from watcher.sources.event_resolver import EventResolver
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary

log = structlog.get_logger(__name__)

RETRY = (1.0, 15.0)
"""First and longest pause, in seconds, before a source or a queue that failed is tried again."""
RECHECK_SECONDS = 30.0
"""Shortest time between two looks at images that were rejected for what is in the sink; polling lists more often."""
SourceFactory = Callable[[SourceCallbacks], Source]


class Intake:
    """Puts the arrivals of every source into the queue until it is stopped. No error ends it."""

    def __init__(
        self,
        enqueuer: Enqueuer,
        sources: Mapping[str, SourceFactory],
        resolver: EventResolver,
        metrics: Metrics,
        health: Health,
        summary: RunSummary,
        wake: Callable[[], None],
    ) -> None:
        """`sources` are factories by the part of `health` that they are; `wake` is called when jobs are pending."""
        self.enqueuer, self.metrics, self.health, self.summary, self.wake = enqueuer, metrics, health, summary, wake
        self.stopping = threading.Event()
        self._resolver = resolver
        self._threads = [_SourceThread(self, part, make) for part, make in sources.items()]

    def start(self) -> None:
        """Start the threads; returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more arrivals; the threads end soon."""
        self.stopping.set()

    def forget(self, key: str) -> None:
        """A worker found the image missing or changed: let the sources report it again."""
        for thread in self._threads:
            thread.forget(key)

    def post(self, body: bytes) -> None:
        """Take a message that was posted: the images it announces are in the queue when this returns.

        Raises NotAnEvent, or Unavailable: then the sender must repeat it.
        """
        arrivals = [Arrival(ref, DiscoveredVia.EVENT) for ref in self._resolver.resolve(body)]
        if arrivals:
            self.enqueue(arrivals)

    def enqueue(self, arrivals: list[Arrival]) -> None:
        """Put arrivals into the queue. Raises Unavailable."""
        if self.enqueuer.accept(arrivals):
            self.wake()
        for arrival in arrivals:
            self.metrics.discovered(arrival.discovered_via)


class _SourceThread:
    """Reads one source, opens it again whenever it fails, and retries until its arrivals are in the queue."""

    def __init__(self, intake: Intake, part: str, make: SourceFactory) -> None:
        self._intake, self._part, self._make = intake, part, make
        self._source: Source | None = None
        self._source_outage = Outage(log, f"{part}_failed", f"{part}_recovered")
        self._source_backoff = Backoff(*RETRY)
        self._queue_outage = Outage(log, "enqueue_failed", "enqueue_recovered")
        self._recheck_outage = Outage(log, "recheck_failed", "recheck_recovered")
        self._rechecked_at = -RECHECK_SECONDS
        self._callbacks = SourceCallbacks(
            self._on_health, self._on_overflow, self._on_listing, self._on_unreadable_folders
        )

    def start(self) -> None:
        self._set_health(True)
        threading.Thread(target=self._run, daemon=True, name=self._part).start()

    def forget(self, key: str) -> None:
        if self._source:
            self._source.forget(key)

    def _run(self) -> None:
        intake = self._intake
        while not intake.stopping.is_set():
            try:
                self._source = self._make(self._callbacks)
                for arrivals in self._source.arrivals(intake.stopping):
                    if not arrivals:
                        self._recover()
                    self._deliver(arrivals)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        intake = self._intake
        intake.summary.transient_errors += 1
        intake.summary.last_error = f"{self._part}: {error}"
        if self._part == "source":
            intake.metrics.listing_failed()
        self._set_health(False, public(error))
        self._source_outage.fail(error)
        self._source_backoff.fail()
        intake.stopping.wait(self._source_backoff.delay())

    def _deliver(self, arrivals: list[Arrival]) -> None:
        """Put arrivals into the queue, however long that takes: none must be lost."""
        intake, backoff = self._intake, Backoff(*RETRY)
        while not intake.stopping.is_set():
            try:
                if arrivals:
                    intake.enqueue(arrivals)
                else:
                    self._finish_first_listing()
                intake.health.set("queue", True)
                self._queue_outage.recover()
                return
            except Unavailable as error:
                intake.health.set("queue", False, error.public)
                self._queue_outage.fail(error)
                backoff.fail()
                intake.stopping.wait(backoff.delay())

    def _finish_first_listing(self) -> None:
        intake = self._intake
        try:
            intake.enqueuer.forget_vanished()
        except Unavailable as error:
            log.warning(
                "vanished_images_cleanup_failed",
                problem=str(error),
                remedy="the jobs of deleted images are removed at the next start",
            )
        intake.summary.listed = True
        intake.wake()

    def _on_health(self, ok: bool, why: str) -> None:
        if ok:
            self._source_outage.recover()
            self._source_backoff.reset()
        self._set_health(ok, why)

    def _on_listing(self, found: int, seconds: float) -> None:
        self._intake.metrics.listing_succeeded(found, seconds)
        self._recover()
        if time.monotonic() - self._rechecked_at >= RECHECK_SECONDS:
            self._retry_unblocked()
            self._rechecked_at = time.monotonic()

    def _retry_unblocked(self) -> None:
        try:
            if self._intake.enqueuer.retry_unblocked():
                self._intake.wake()
            self._recheck_outage.recover()
        except Unavailable as error:
            self._recheck_outage.fail(error)

    def _recover(self) -> None:
        """A listing came to its end. Only this ends an outage: a source may yield arrivals and then fail each time."""
        if self._source_outage.failures:  # the source does not know of an earlier attempt
            self._on_health(True, "")

    def _set_health(self, ok: bool, why: str = "") -> None:
        if self._part == "source":
            self._intake.metrics.source_health(ok)
        self._intake.health.set(self._part, ok, why)

    def _on_overflow(self) -> None:
        self._intake.metrics.overflowed()
        log.warning("events_lost", remedy="none needed: the source is listed again at once")

    def _on_unreadable_folders(self, count: int) -> None:
        self._intake.summary.unreadable_folders = count
        what = "1 folder of the source" if count == 1 else f"{count:,} folders of the source"
        self._intake.health.set("source_folders", not count, f"{what} cannot be read; the log names them")
