"""The composition root: opens everything in order, keeps it running, closes it in order. Never imports torch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from types import FrameType

import structlog

from inference.models.catalogue import ModelEntry
from watcher.compose import MOST_REJECTED, find_model, locked, make_recipe, worker_config
from watcher.cores import available_cores, threads_per_worker
from watcher.devices import expand
from watcher.errors import Unavailable
from watcher.fleet import SILENCE, Fleet, FleetNews, State
from watcher.metrics import Metrics
from watcher.quarantine import quarantine
from watcher.queues import open_queue
from watcher.queues.base import QueueStats
from watcher.reconcile import Reconciler
from watcher.reports import ImageReport, Report, TroubleReport
from watcher.settings import Settings
from watcher.sources.base import Arrival, SourceNews
from watcher.sources.folder import FolderSource
from watcher.stores import open_store
from watcher.tally import Tally, log_image
from watcher.web.app import Health, create_app
from watcher.web.server import HttpServer
from watcher.work import Job, Outcome, Rejection

log = structlog.get_logger(__name__)

TICK = 1.0
PATIENCE = 120.0
"""`once` gives up when nothing has ended for so long while the world is in trouble."""
HOPELESS = 5
"""`once` gives up when every worker has died so often in a row without doing anything."""


class Supervisor:
    """One run of the daemon. `run` until a signal, `once` until all is done; either only once."""

    def __init__(
        self, settings: Settings, on_tick: Callable[[Tally, QueueStats], None] = lambda tally, stats: None
    ) -> None:
        self.settings = settings
        self.tally = Tally()
        self.metrics = Metrics()
        self.health = Health("source", "queue", "workers")
        self._on_tick = on_tick
        self._rejected: list[tuple[Job, Rejection]] = []
        self._folder: FolderSource | None = None
        self._stop = threading.Event()
        self._news = threading.Event()
        self._signals = 0
        self.why = ""
        """Why `once` gave up."""

    def run(self, *, once: bool = False) -> bool:
        """Work until stopped (or, with `once`, until all is done); False if it had to give up.

        Raises ConfigurationError before anything is touched where the settings cannot work.
        """
        entry = find_model(self.settings)
        with ExitStack() as stack:
            stack.enter_context(locked(self.settings.state_path))
            self._open(entry, stack, once=once)
            with self._signals_handled():
                if not once:
                    self._fleet.start()
                threading.Thread(target=self._watch, daemon=True, name="source", args=(once,)).start()
                finished = self._attend(once=once)
                return self._close() and finished

    def rejected(self) -> list[tuple[Job, Rejection]]:
        """Every image of the source that stands rejected, in this run or an earlier one."""
        return list(self._rejected)

    def _open(self, entry: ModelEntry, stack: ExitStack, *, once: bool) -> None:
        """Everything in order: what can fail because of a setting fails here."""
        settings = self.settings
        settings.sink_path.mkdir(parents=True, exist_ok=True)
        self.source, self.sink = open_store(settings.source_path.as_uri()), open_store(settings.sink_path.as_uri())
        self.queue = open_queue(f"sqlite://{settings.state_path / 'queue.sqlite'}")
        stack.callback(self.queue.close)
        swept, left = self.sink.sweep(), self.queue.abandon_all()
        recipe = make_recipe(settings, entry, self.source.uri)
        self._reconciler = Reconciler(recipe, self.source, self.sink, self.queue)
        self._fleet = self._make_fleet()
        self.metrics.build_info(version("alphadrop"), entry.name, entry.digest)
        if not once:
            self._serve(stack)
        log.info(
            "started",
            source=str(settings.source_path),
            sink=str(settings.sink_path),
            model=entry.name,
            devices=[keeper.device for keeper in self._fleet.keepers],
            temporary_files_removed=swept,
            resumed=left,
        )

    def _make_fleet(self) -> Fleet:
        devices = expand(self.settings.devices)
        threads = self.settings.threads or threads_per_worker(len(devices), available_cores())

        def make_line(owner: str, device: str) -> str:
            return worker_config(self.settings, owner, device, threads).to_line()

        news = FleetNews(self._hear, self._bury, self._fleet_changed)
        return Fleet(devices, make_line, news, silence=min(SILENCE, self.settings.device_timeout))

    def _serve(self, stack: ExitStack) -> None:
        address = self.settings.http_address
        if address is None:
            return
        server = HttpServer(create_app(self.metrics, self.health), *address)
        server.start()
        stack.callback(server.stop)
        log.info("serving", address=f"http://{address[0]}:{server.port}", paths=["/metrics", "/livez", "/readyz"])

    # What the threads tell.

    def _watch(self, once: bool) -> None:
        """The source's thread: it goes on whatever happens, until stopped."""
        settings = self.settings
        exclude = [os.path.relpath(settings.sink_path, settings.source_path) + "/"] if settings.exclude_sink else []
        news = SourceNews(self._source_health, self._overflowed, self.metrics.scanned)
        failed = False
        while not self._stop.is_set():
            try:
                source = self._folder = FolderSource(
                    self.source,
                    settle=settings.settle,
                    rescan=settings.rescan,
                    poll=settings.poll,
                    mode="listing" if once else settings.watch,
                    exclude=exclude,
                    news=news,
                )
                for arrivals in source.arrivals(self._stop):
                    if failed:  # the source itself knows nothing of an earlier attempt
                        self._source_health(True, "")
                        failed = False
                    self._accept(arrivals)
            except Exception as error:
                failed = True
                self._source_health(False, f"{type(error).__name__}: {error}")
                log.warning("source_failed", problem=str(error), exc_info=not isinstance(error, Unavailable))
                self._stop.wait(TICK)

    def _accept(self, arrivals: list[Arrival]) -> None:
        """Into the queue, however long that takes: an arrival must not be lost."""
        for arrival in arrivals:
            self.metrics.arrived(arrival.hint)
        while not self._stop.is_set():
            try:
                if arrivals and self._reconciler.accept(arrivals):
                    self._fleet.wake()
                self.health.set("queue", True)
                break
            except Unavailable as error:
                self.health.set("queue", False, str(error))
                self._stop.wait(TICK)
        if not arrivals:
            self._listed()
        self._news.set()

    def _listed(self) -> None:
        """The first listing is through."""
        try:
            self._reconciler.forget_vanished()
        except Unavailable as error:  # the next start will do
            log.warning("trouble", stage="reconcile", problem=str(error))
        self.tally.listed = True

    def _source_health(self, ok: bool, why: str) -> None:
        self.metrics.source(ok)
        self.health.set("source", ok, why)

    def _overflowed(self) -> None:
        self.metrics.overflowed()
        log.warning("events_lost", cure="the source is listed again at once; nothing is lost")

    def _hear(self, device: str, report: Report) -> None:
        """A worker's report: metrics, log, tally."""
        self.metrics.report(device, report)
        if isinstance(report, ImageReport):
            self.tally.note(report.outcome, report.reason)
            log_image(device, report)
            if self._folder and report.outcome in (Outcome.GONE, Outcome.STALE):
                self._folder.forget(report.key)
            self._news.set()
        elif isinstance(report, TroubleReport):
            self.tally.troubles += 1
            self.tally.last_trouble = f"{report.stage}: {report.detail}"
            log.warning(
                "trouble",
                device=device,
                key=report.key,
                stage=report.stage,
                reason=report.reason,
                problem=report.detail,
            )

    def _bury(self, owner: str, reason: str, blame: bool) -> None:
        """A worker is dead: its jobs become suspects, and one that has killed three workers is quarantined."""
        device = owner.rsplit("-", 2)[0]
        if blame:
            self.metrics.restarted(device, reason)
        try:
            for job, rejection in self.queue.abandon(owner, blame=blame):
                self._quarantine(device, job, rejection)
        except Unavailable as error:  # the leases stay; the next start finds them
            log.error("queue_unavailable", problem=str(error))
        self._fleet.wake()
        if reason != "exit":
            self.sink.sweep()  # what it was writing

    def _quarantine(self, device: str, job: Job, rejection: Rejection) -> None:
        try:
            quarantine(self.sink, job, rejection)
        except Unavailable as error:
            log.error("record_not_written", key=job.ref.key, problem=str(error))
        self._hear(
            device,
            ImageReport(
                job.ref.key, job.id, Outcome.REJECTED, job.output, rejection.reason, rejection.detail, stage="infer"
            ),
        )

    def _fleet_changed(self) -> None:
        states = self._fleet.states()
        self.metrics.workers(states)
        ready = states[State.READY] > 0
        whys = sorted({keeper.why for keeper in self._fleet.keepers if keeper.why})
        self.health.set("workers", ready, "" if ready else "; ".join(whys))
        self._news.set()

    # The main thread.

    def _attend(self, *, once: bool) -> bool:
        """Until a signal, or with `once` until all is done (True) or hopeless (False)."""
        self.health.set("source", True)
        self.health.set("queue", True)
        while not self._stop.is_set():
            self.health.beat()
            listed = self.tally.listed  # asked first: what was listed is in the queue by then
            stats = self._look()
            if once and stats is not None and listed and not stats.open:
                return True
            if once and stats is not None and stats.open:  # nothing to do: no need to load a model
                self._fleet.start()
            self.why = self._hopeless() if once else ""
            if self.why:
                return False
            self._news.wait(TICK)
            self._news.clear()
            self._stop.wait(0.05)  # a burst of news is one look
        return not once

    def _look(self) -> QueueStats | None:
        try:
            stats = self.queue.stats()
        except Unavailable as error:
            self.health.set("queue", False, str(error))
            return None
        self.metrics.queue(stats)
        self._on_tick(self.tally, stats)
        return stats

    def _hopeless(self) -> str:
        """Why `once` cannot finish, empty while it may."""
        if all(keeper.failures >= HOPELESS for keeper in self._fleet.keepers):
            return f"every worker died {HOPELESS} times in a row; the last: {self._fleet.keepers[0].why}"
        if self.tally.troubles and time.monotonic() - self.tally.last_end > PATIENCE:
            return f"nothing has worked for {PATIENCE:.0f} s; the last trouble: {self.tally.last_trouble}"
        return ""

    def _close(self) -> bool:
        """Drain: not ready, nothing new, finish what is in hand; True if that was in time."""
        self._stop.set()
        self.health.set("stopping", False, "the daemon is stopping")
        in_time = self._fleet.stop(self.settings.drain)
        self._look()
        self._rejected = self.queue.rejected(MOST_REJECTED)
        log.info("stopped", drained=in_time, **self.tally.outcomes)
        return in_time

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first one stops in good order, the second one at once."""
        self._signals += 1
        if self._signals > 1:
            for keeper in self._fleet.keepers:
                if keeper.pid:
                    os.kill(keeper.pid, signal.SIGKILL)
            os._exit(128 + number)
        # In a thread, since an Event is not reentrant: this may have interrupted the main thread inside of one.
        threading.Thread(target=self._ask_to_stop, daemon=True, name="signal").start()

    def _ask_to_stop(self) -> None:
        self._stop.set()
        self._news.set()
