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

from watcher.compose import MOST_REJECTED, Parts, find_model, locked, worker_line
from watcher.config.load import wants_traces
from watcher.config.settings import Settings
from watcher.core.attempt import Attempt
from watcher.core.errors import Unavailable, public
from watcher.core.jobs import Job, Mode, Rejection
from watcher.fleet.devices import plan_workers
from watcher.fleet.keeper import SILENCE
from watcher.fleet.model_check import require_usable
from watcher.fleet.pool import Crew, Told
from watcher.ingest.intake import Intake
from watcher.queues.base import QueueStats
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.telemetry.tracing import tracing
from watcher.web.app import create_app
from watcher.web.events import events_route
from watcher.web.server import HttpServer

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
"""`once` gives up when nothing has ended for so long while the world is in trouble."""
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
        self.settings, self.mode = settings, mode
        self.run_summary = RunSummary()
        self.metrics = Metrics()
        self.health = Health("queue", *(["source"] if mode.watches else []), *(["workers"] if mode.works else []))
        self._on_tick = on_tick
        self._rejected: list[tuple[Job, Rejection]] = []
        self._intake: Intake | None = None
        self._crew: Crew | None = None
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
        entry = find_model(settings)
        if self.mode.works:
            require_usable(entry)
        with ExitStack() as stack:
            self._trace = stack.enter_context(tracing(self.mode.works and wants_traces()))
            if not settings.queue:
                stack.enter_context(locked(settings.state_path))
            self.metrics.build_info(version("alphadrop"), entry.name, entry.digest)
            self._parts = Parts(settings, entry)
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
        pause, longest = RETRY
        while not self._stop.is_set():
            try:
                return self._try_to_open()
            except Unavailable as error:
                if self.mode is Mode.ONCE:
                    raise
                for part in self.health.unready():
                    self.health.set(part, False, error.public)
                log.warning("trouble", stage="start", reason=error.reason, problem=str(error))
                self.health.beat()
                self._stop.wait(pause)
                pause = min(longest, pause * 2)
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
        parts, settings = self._parts, self.settings
        self.metrics.capabilities(parts.capabilities)
        if self.mode.works:
            self._crew = self._make_crew()
            if self.mode is not Mode.ONCE:  # where nothing is to be done, no model need be loaded
                self._crew.fleet.start()
        if self.mode.watches:
            self.metrics.listing_interval(settings.rescan_seconds)
            self._intake = parts.intake(self.mode, self.metrics, self.health, self.run_summary, self._wake)
            self._intake.start()
        if parts.links.shared:
            threading.Thread(target=self._measure_broker, daemon=True, name="measure").start()
        log.info(
            "started",
            mode=self.mode.value,
            source=settings.source_uri,
            sink=settings.sink_uri,
            model=parts.entry.name,
            devices=[keeper.device for keeper in self._crew.fleet.keepers] if self._crew else [],
            temporary_files_removed=parts.swept,
            resumed=parts.resumed,
        )
        if parts.entry.limits:
            log.warning("model_limits_throughput", model=parts.entry.name, problem=parts.entry.limits)

    def _make_crew(self) -> Crew:
        settings, parts = self.settings, self._parts
        workers = plan_workers(settings.devices, settings.threads, foreign=bool(parts.entry.contract))

        def make_line(owner: str, device: str) -> str:
            return worker_line(settings, parts, owner, device, workers.threads)

        silence = min(SILENCE, settings.device_timeout)
        told = Told(self.metrics, self.health, self.run_summary, self._trace)
        return Crew(workers.devices, make_line, silence, parts.sink, parts.embedded, told, self._forget, self._news.set)

    def _forget(self, key: str) -> None:
        if self._intake:
            self._intake.forget(key)

    def _wake(self) -> None:
        if self._crew:
            self._crew.fleet.wake()
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
            if once and stats is not None and stats.open and self._crew:
                self._crew.fleet.start()
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
        if self._crew:
            self._crew.look()
        self.metrics.counts("supervisor", self._parts.counts.snapshot())
        return self._measure() if self._parts.embedded else None

    def _measure(self) -> QueueStats | None:
        try:
            stats = self._parts.queue.stats()
        except Unavailable as error:
            self.health.set("queue", False, error.public)
            return None
        if self._parts.links.shared:  # an embedded queue may be read while it cannot be written
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
                log.error("measuring_failed", problem=str(error), exc_info=True)
            self._stop.wait(SHARED_TICK)

    def _hopeless(self) -> str:
        """Why `once` cannot finish, empty while it may."""
        keepers = self._crew.fleet.keepers if self._crew else []
        if keepers and all(keeper.death.endswith("configuration") for keeper in keepers):
            return "the model cannot be used here, as the log says; `alphadrop doctor` tries it again"
        if all(keeper.failures >= HOPELESS for keeper in keepers):
            return f"every worker died {HOPELESS} times in a row; the last: {keepers[0].why}"
        if self.run_summary.transient_errors and time.monotonic() - self.run_summary.last_finished > PATIENCE:
            return f"nothing has worked for {PATIENCE:.0f} s; the last trouble: {self.run_summary.last_error}"
        return ""

    def _close(self) -> bool:
        """Drain: not ready, nothing new, finish what is in hand; True if that was in time."""
        self._stop.set()
        self.health.set("stopping", False, "the daemon is stopping")
        if self._intake:
            self._intake.stop()
        in_time = self._crew.fleet.stop(self.settings.drain) if self._crew else True
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
            for keeper in self._crew.fleet.keepers if self._crew else []:
                if keeper.pid:
                    os.kill(keeper.pid, signal.SIGKILL)
            os._exit(128 + number)
        # In a thread, since an Event is not reentrant: this may have interrupted the main thread inside of one.
        threading.Thread(target=self._ask_to_stop, daemon=True, name="signal").start()

    def _ask_to_stop(self) -> None:
        self._stop.set()
        self._news.set()
