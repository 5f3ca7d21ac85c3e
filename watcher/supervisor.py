"""The composition root: opens everything in order, keeps it running, closes it in order. Never imports torch."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import structlog

from watcher.config.load import wants_traces
from watcher.config.settings import Settings
from watcher.core.attempt import Attempt
from watcher.core.backoff import Backoff
from watcher.core.errors import ConfigurationError, Unavailable, public
from watcher.core.jobs import Job, Mode, Rejection
from watcher.core.outage import Outage
from watcher.fleet.devices import plan_workers
from watcher.fleet.keeper import REPORT_TIMEOUT
from watcher.fleet.model_check import require_usable
from watcher.fleet.monitor import Telemetry, WorkerMonitor
from watcher.ingest.intake import Intake
from watcher.ingest.setup import make_intake
from watcher.protocol import DeathReason, WorkerStart
from watcher.queues.base import MOST_REJECTED, QueueStats
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.telemetry.tracing import tracing
from watcher.web.app import create_app
from watcher.web.events import events_route
from watcher.web.server import HttpServer
from watcher.wiring import Parts, Wiring

log = structlog.get_logger(__name__)

TICK = 1.0
END_TICK = 0.1
"""The same where `once` will soon have done all: workers' news come later than that."""
LULL, LONG_LULL = 0.05, 0.5
"""Seconds between two looks, however much is new; the longer one while there is no end in sight."""
MANY = 32
"""Open jobs from which on no end is in sight."""
SHARED_TICK = 10.0
"""Seconds between two looks at how much waits in a broker's queue: each is a request that costs."""
RETRY = (0.5, 15.0)
"""First and longest wait before source, sink and queue are tried again at start."""
PATIENCE = 120.0
"""Seconds without a finished image, while there are transient errors, after which `once` gives up."""
HOPELESS = 5
"""`once` gives up when every worker has died so often in a row without doing anything."""


class Supervisor:
    """One run of the daemon, or of one half of it; only once."""

    def __init__(
        self,
        settings: Settings,
        on_tick: Callable[[RunSummary, QueueStats], None] = lambda summary, stats: None,
        *,
        mode: Mode = Mode.RUN,
    ) -> None:
        self.settings, self.mode = _with_real_folders(settings), mode
        self.run_summary = RunSummary()
        self.metrics = Metrics()
        self.health = Health("queue", *(["source"] if mode.watches else []), *(["workers"] if mode.works else []))
        self._on_tick = on_tick
        self._rejected: list[tuple[Job, Rejection]] = []
        self._intake: Intake | None = None
        self._monitor: WorkerMonitor | None = None
        self._stop = threading.Event()
        self._news = threading.Event()
        self._signals = 0
        self.why = ""
        """Why `once` gave up."""

    def run(self) -> bool:
        """Work until stopped, or with Mode.ONCE until all is done; False if it had to give up.

        Raises ConfigurationError before anything is touched where the settings cannot work. With Mode.ONCE, raises
        Unavailable where source, sink or queue cannot be reached at the start; else they are waited for.
        """
        settings = self.settings
        wiring = Wiring.of(settings)
        if self.mode.works:
            require_usable(wiring.model)
        with ExitStack() as stack:
            self._trace = stack.enter_context(tracing(self.mode.works and wants_traces()))
            if not settings.queue:
                stack.enter_context(locked(settings.state_path))
            self.metrics.build_info(version("alphadrop"), wiring.model.name, wiring.model.digest)
            self._parts = Parts(wiring)
            stack.callback(self._parts.close)
            if self.mode is not Mode.ONCE:
                self._serve(stack)
            with self._signals_handled():
                if not self._reach():
                    return True  # stopped before it began
                self._begin()
                finished = self._attend()
                return self._close() and finished

    def rejected(self) -> list[tuple[Job, Rejection]]:
        """Every image of the source that stands rejected, in this run or an earlier one."""
        return list(self._rejected)

    # Opening.

    def _serve(self, stack: ExitStack) -> None:
        address = self.settings.http_address
        if address is None:
            return
        hears = self.mode.watches and self.settings.events == "webhook"
        extra = [events_route(self.settings.events_token, self._post)] if hears else []
        server = HttpServer(create_app(self.metrics, self.health, extra), *address)
        server.start()
        stack.callback(server.stop)
        paths = ["/metrics", "/livez", "/readyz", *(["/events"] if hears else [])]
        log.info("serving", address=f"http://{address[0]}:{server.port}", paths=paths)

    def _post(self, body: bytes) -> None:
        if self._intake is None or self._stop.is_set():
            raise Unavailable("the daemon is starting or stopping")
        self._intake.post(body)

    def _reach(self) -> bool:
        """Open source, sink and queue, however long that takes; False when stopped before they are there."""
        backoff = Backoff(*RETRY)
        outage = Outage(log, "start_failed", "start_recovered")
        while not self._stop.is_set():
            try:
                opened = self._try_to_open()
            except Unavailable as error:
                if self.mode is Mode.ONCE:
                    raise
                for part in self.health.unready():
                    self.health.set(part, False, error.public)
                outage.fail(error)
                self.health.beat()
                backoff.fail()
                self._stop.wait(backoff.delay())
            else:
                if opened:
                    outage.recover()
                return opened
        return False

    def _try_to_open(self) -> bool:
        """In a thread: what hangs must not keep us from saying that we live, nor from stopping."""
        attempt = Attempt(lambda: self._parts.open(self.mode))
        while not attempt.ended(TICK / 2):
            self.health.beat()
            if self._stop.is_set():
                return False
        attempt.result()
        return True

    def _begin(self) -> None:
        parts, settings, model = self._parts, self.settings, self._parts.wiring.model
        if parts.wiring.conditional_writes:
            self.metrics.conditional_writes(parts.wiring.conditional_writes.enforced)
        if self.mode.works:
            self._monitor = self._make_monitor()
            if self.mode is not Mode.ONCE:  # where nothing is to be done, no model need be loaded
                self._monitor.pool.start()
        if self.mode.watches:
            self.metrics.listing_interval(settings.rescan_seconds)
            self._intake = make_intake(parts, self.mode, self.metrics, self.health, self.run_summary, self._wake)
            self._intake.start()
        if parts.wiring.shared:
            threading.Thread(target=self._measure_broker, daemon=True, name="measure").start()
        log.info(
            "started",
            mode=self.mode.value,
            source=settings.source_uri,
            sink=settings.sink_uri,
            model=model.name,
            devices=[keeper.worker for keeper in self._monitor.pool.keepers] if self._monitor else [],
            temporary_files_removed=parts.swept,
            resumed=parts.resumed,
        )
        if model.limits:
            log.warning("model_limits_throughput", model=model.name, problem=model.limits)

    def _make_monitor(self) -> WorkerMonitor:
        settings, parts = self.settings, self._parts
        workers = plan_workers(settings.devices, settings.threads, foreign=bool(parts.wiring.model.contract))

        def make_start(owner: str, device: str) -> WorkerStart:
            wiring = parts.wiring
            return WorkerStart(
                owner=owner,
                device=device,
                threads=workers.threads,
                settings=settings,
                model=wiring.model,
                conditional_writes=wiring.conditional_writes,
            )

        report_timeout = min(REPORT_TIMEOUT, settings.device_timeout)
        telemetry = Telemetry(self.metrics, self.health, self.run_summary, self._trace)
        return WorkerMonitor(
            workers.devices,
            make_start,
            report_timeout,
            parts.sink,
            parts.embedded,
            telemetry,
            self._forget,
            self._news.set,
        )

    def _forget(self, key: str) -> None:
        if self._intake:
            self._intake.forget(key)

    def _wake(self) -> None:
        if self._monitor:
            self._monitor.pool.wake()
        self._news.set()

    # The main thread.

    def _attend(self) -> bool:
        """Until a signal, or with `once` until all is done (True) or hopeless (False)."""
        once = self.mode is Mode.ONCE
        self.health.set("queue", True)
        while not self._stop.is_set():
            self.health.beat()
            listed = self.run_summary.listed  # asked first: what was listed is in the queue by then
            stats = self._look()
            if once and stats is not None and listed and not stats.open:
                return True
            if once and stats is not None and stats.open and self._monitor:
                self._monitor.pool.start()
            self.why = self._hopeless() if once else ""
            if self.why:
                return False
            near = once and stats is not None and 0 < stats.open < MANY
            self._news.wait(END_TICK if near else TICK)
            self._news.clear()
            self._stop.wait(LONG_LULL if stats is not None and stats.open >= MANY else LULL)
        return not once

    def _look(self) -> QueueStats | None:
        """What waits in the embedded queue; a broker's is looked at by a thread of its own."""
        if self._monitor:
            self._monitor.tick()
        self.metrics.counts("supervisor", self._parts.counts.snapshot())
        return self._measure() if self._parts.embedded else None

    def _measure(self) -> QueueStats | None:
        try:
            stats = self._parts.queue.stats()
        except Unavailable as error:
            self.health.set("queue", False, error.public)
            return None
        if self._parts.wiring.shared:  # an embedded queue may be read while it cannot be written
            self.health.set("queue", True)
        self.metrics.queue(stats)
        self._on_tick(self.run_summary, stats)
        return stats

    def _measure_broker(self) -> None:
        """A thread: it goes on whatever happens, until stopped."""
        while not self._stop.is_set():
            try:
                self._measure()
            except Exception as error:
                self.health.set("queue", False, public(error))
                log.error("queue_stats_failed", problem=str(error), exc_info=True)
            self._stop.wait(SHARED_TICK)

    def _hopeless(self) -> str:
        """Why `once` cannot finish, empty while it may."""
        keepers = self._monitor.pool.keepers if self._monitor else []
        if self._monitor and self._monitor.pool.all_died_of(DeathReason.CONFIGURATION):
            return "the model cannot be used here, as the log says; `alphadrop doctor` tries it again"
        if all(keeper.failures >= HOPELESS for keeper in keepers):
            return f"every worker died {HOPELESS} times in a row; the last: {keepers[0].problem}"
        if self.run_summary.transient_errors and time.monotonic() - self.run_summary.last_finished > PATIENCE:
            return f"no image has finished for {PATIENCE:.0f} s; the last error: {self.run_summary.last_error}"
        return ""

    def _close(self) -> bool:
        """Drain: not ready, nothing new, finish what is in hand; True if that was in time."""
        self._stop.set()
        self.health.set("stopping", False, "the daemon is stopping")
        if self._intake:
            self._intake.stop()
        in_time = self._monitor.pool.stop(self.settings.drain) if self._monitor else True
        self._look()
        if self._parts.embedded:
            self._rejected = self._parts.embedded.rejected(MOST_REJECTED)
        log.info("stopped", drained=in_time, **self.run_summary.outcomes)
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
            for keeper in self._monitor.pool.keepers if self._monitor else []:
                if keeper.pid:
                    os.kill(keeper.pid, signal.SIGKILL)
            os._exit(128 + number)
        # In a thread, since an Event is not reentrant: this may have interrupted the main thread inside of one.
        threading.Thread(target=self._ask_to_stop, daemon=True, name="signal").start()

    def _ask_to_stop(self) -> None:
        self._stop.set()
        self._news.set()


def _with_real_folders(settings: Settings) -> Settings:
    """The same with folders by their real paths: a symlink that is changed later does not redirect new workers."""
    folders = {"source": settings.source_path, "sink": settings.sink_path}
    real: dict[str, object] = {name: str(path) for name, path in folders.items() if path is not None}
    return settings.model_copy(update=real | {"state": settings.state_path})


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One daemon for one state folder. Raises ConfigurationError naming the other one."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise ConfigurationError(
                f"Another alphadrop (process {file.read().strip() or 'unknown'}) works on these folders; stop it, or "
                "give this one another --state if it is to work on others."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
