"""How images arrive: each source in a thread of its own, and what is posted to the web server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from watcher.core.errors import Unavailable, public
from watcher.ingest.reconcile import Reconciler
from watcher.sources.base import Arrival, Hint, Source, SourceNews
from watcher.sources.folder import FolderSource
from watcher.sources.notices import Notices
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary

log = structlog.get_logger(__name__)

PAUSE = 1.0
"""Seconds before what was in trouble is tried again."""
MakeSource = Callable[[SourceNews], Source]


class Intake:
    """Takes arrivals from every source and puts them into the queue, whatever happens, until stopped."""

    def __init__(
        self,
        reconciler: Reconciler,
        sources: Mapping[str, MakeSource],
        notices: Notices,
        metrics: Metrics,
        health: Health,
        summary: RunSummary,
        wake: Callable[[], None],
    ) -> None:
        """`sources` are made by the part of `health` that they are; `wake` is called when there is something to do."""
        self._reconciler, self._sources, self._notices = reconciler, sources, notices
        self._metrics, self._health, self._summary, self._wake = metrics, health, summary, wake
        self._stop = threading.Event()
        self._folder: FolderSource | None = None

    def start(self) -> None:
        """Start the threads; returns at once."""
        for part, make in self._sources.items():
            self._healthy(part, True, "")
            threading.Thread(target=self._watch, daemon=True, name=part, args=(part, make)).start()

    def stop(self) -> None:
        """Take nothing more; the threads end soon."""
        self._stop.set()

    def forget(self, key: str) -> None:
        """An image was not there, or not in this version, when it was to be read: a folder looks at it anew."""
        if self._folder:
            self._folder.forget(key)

    def post(self, body: bytes) -> None:
        """A message from outside: what it announces is in the queue when this returns.

        Raises NotAnEvent, or Unavailable: then it is to be sent again.
        """
        arrivals = [Arrival(ref, Hint.EVENT) for ref in self._notices.refs(body)]
        if arrivals:
            self._take(arrivals)

    def _watch(self, part: str, make: MakeSource) -> None:
        """A source's thread: it goes on whatever happens, until stopped."""
        healthy, metrics = self._healthy, self._metrics
        news = SourceNews(lambda ok, why: healthy(part, ok, why), self._overflowed, metrics.listing_succeeded)
        failed = False
        while not self._stop.is_set():
            try:
                source = make(news)
                if isinstance(source, FolderSource):
                    self._folder = source
                for arrivals in source.arrivals(self._stop):
                    if failed:  # the source itself knows nothing of an earlier attempt
                        self._healthy(part, True, "")
                        failed = False
                    self._accept(arrivals)
            except Exception as error:
                failed = True
                self._summary.transient_errors += 1
                self._summary.last_error = f"{part}: {error}"
                if part == "source":
                    self._metrics.listing_failed()
                self._healthy(part, False, public(error))
                log.warning(f"{part}_failed", problem=str(error), exc_info=not isinstance(error, Unavailable))
                self._stop.wait(PAUSE)

    def _accept(self, arrivals: list[Arrival]) -> None:
        """Into the queue, however long that takes: an arrival must not be lost."""
        problem = ""
        while not self._stop.is_set():
            try:
                self._take(arrivals)
                self._health.set("queue", True)
                break
            except Unavailable as error:
                self._health.set("queue", False, error.public)
                if str(error) != problem:  # once, not every second
                    problem = str(error)
                    log.warning("trouble", stage="enqueue", reason=error.reason, problem=problem)
                self._stop.wait(PAUSE)

    def _take(self, arrivals: list[Arrival]) -> None:
        if not arrivals:
            self._listed()
        elif self._reconciler.accept(arrivals):
            self._wake()
        for arrival in arrivals:
            self._metrics.discovered(arrival.hint)

    def _listed(self) -> None:
        """The first listing is through."""
        try:
            self._reconciler.forget_vanished()
        except Unavailable as error:  # the next start will do
            log.warning("trouble", stage="reconcile", problem=str(error))
        self._summary.listed = True
        self._wake()

    def _healthy(self, part: str, ok: bool, why: str) -> None:
        if part == "source":
            self._metrics.source_health(ok)
        self._health.set(part, ok, why)

    def _overflowed(self) -> None:
        self._metrics.overflowed()
        log.warning("events_lost", cure="the source is listed again at once; nothing is lost")
