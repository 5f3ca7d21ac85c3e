"""The supervisor process: opens everything in order, keeps it running, and closes it in order. Never imports torch."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from watcher.config.load import wants_traces
from watcher.config.preflight import require_places
from watcher.config.settings import Settings
from watcher.core.attempt import Attempt
from watcher.core.backoff import Backoff
from watcher.core.errors import ConfigurationError, Unavailable, public
from watcher.core.jobs import Job, Mode, Rejection
from watcher.core.outage import Outage
from watcher.fleet.devices import plan_workers, require_devices
from watcher.fleet.keeper import REPORT_TIMEOUT, WorkerKeeper
from watcher.fleet.model_check import require_usable
from watcher.fleet.monitor import Telemetry, WorkerMonitor
from watcher.ingest.intake import Intake
from watcher.ingest.setup import make_intake
from watcher.notify.progress import Progress
from watcher.notify.sender import Sender
from watcher.protocol import DeathReason, NotificationsReport, WorkerStart
from watcher.queues.base import MOST_REJECTED, QueueStats
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary
from watcher.telemetry.tracing import tracing
from watcher.web.app import create_app
from watcher.web.events import events_route
from watcher.web.server import HttpServer
from watcher.wiring import Parts, Wiring

if TYPE_CHECKING:
    from watcher.web.frontend import Frontend

log = structlog.get_logger(__name__)

TICK = 1.0
"""Longest time between two rounds of the main loop, in seconds."""
FINAL_TICK = 0.1
"""The same while `once` has few jobs left, so that it ends soon after the last one."""
MIN_PAUSE, BUSY_PAUSE = 0.05, 0.5
"""Shortest time between two rounds, in seconds; the longer one while at least MANY_JOBS are open."""
MANY_JOBS = 32
BROKER_INTERVAL = 10.0
"""Seconds between two requests for the length of a broker's queue, which cost money."""
OPEN_BACKOFF = (0.5, 15.0)
"""First and longest wait before source, sink and queue are tried again at the start, in seconds."""
SENDER_TIMEOUT = 2.0
"""Seconds that a request with a notification may go on after the images are finished."""
GIVE_UP_SECONDS = 120.0
"""`once` gives up when there were transient errors and no image has finished for this time."""
GIVE_UP_DEATHS = 5
"""`once` stops when every worker has died this many times in a row without finishing an image."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """One run of the daemon, or of the half of it that its mode names."""

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
        self._sender: Sender | None = None
        self._frontend: Frontend | None = None
        self._state: StateFolder | None = None
        self._stop = threading.Event()
        self._changed = threading.Event()
        """Set when there is a reason for the next round of the main loop."""
        self._signals = 0
        self.why = ""
        """Why `once` gave up."""
        self.undelivered = 0
        """Notifications that were not delivered when the run ended; the next one sends them."""

    def run(self) -> bool:
        """Run until stopped, or with Mode.ONCE until no job is open; False if that was given up.

        Raises ConfigurationError for settings that cannot work, before anything is changed. With Mode.ONCE, raises
        Unavailable where source, sink or queue cannot be reached at the start; other modes wait for them.
        """
        settings = self.settings
        wiring = Wiring.of(settings)
        if self.mode.works:
            require_usable(wiring.model)
            require_devices(settings.devices)
            if wiring.strong is not None:
                require_usable(wiring.strong, "--strong")
        with ExitStack() as stack:
            self._trace = stack.enter_context(tracing(self.mode.works and wants_traces()))
            if not settings.queue:
                self._until_available(lambda: self._lock_state(stack))
            self.metrics.build_info(version("alphadrop"), wiring.model.name, wiring.model.digest)
            self._outputs = [output.name for output in wiring.recipe.outputs]
            self._parts = Parts(wiring)
            stack.callback(self._parts.close)
            if self.mode is not Mode.ONCE:
                self._serve(stack)
            with self._signals_handled():
                if not self._open():
                    return True  # stopped before it began
                self._begin()
                finished = self._loop()
                return self._close() and finished

    def rejected(self) -> list[tuple[Job, Rejection]]:
        """Every image that is rejected now, in this run or an earlier one."""
        return list(self._rejected)

    # Opening.

    def _serve(self, stack: ExitStack) -> None:
        address = self.settings.http_address
        if address is None:
            return
        webhook = self.mode.watches and self.settings.events == "webhook"
        extra = [events_route(self.settings.events_token, self._post)] if webhook else []
        if self.settings.serves_api and self.mode.watches:
            from watcher.web.frontend import Frontend  # which most daemons do without

            self._frontend = Frontend(self.settings, self.metrics, self.health)
            stack.callback(self._frontend.close)
            extra += self._frontend.routes()
        server = HttpServer(create_app(self.metrics, self.health, extra), *address)
        server.start()
        stack.callback(server.stop)
        if self._frontend:
            stack.callback(self._frontend.stop)
        paths = [
            *(["/"] if self.settings.page and self._frontend else []),
            "/metrics",
            "/livez",
            "/readyz",
            *(["/events"] if webhook else []),
            *(["/v1"] if self._frontend else []),
        ]
        log.info("serving", address=f"http://{address[0]}:{server.port}", paths=paths)

    def _post(self, body: bytes) -> None:
        if self._intake is None or self._stop.is_set():
            raise Unavailable("the daemon is starting or stopping")
        self._intake.post(body)

    def _lock_state(self, stack: ExitStack) -> bool:
        stack.enter_context(locked(self.settings.state_path))
        return True

    def _open(self) -> bool:
        """Open source, sink and queue, however long that takes; False when stopped before they are open."""
        return self._until_available(self._try_to_open)

    def _until_available(self, attempt: Callable[[], bool]) -> bool:
        """Repeat what may raise Unavailable, except in Mode.ONCE. False when it returns that, or when stopped."""
        outage, backoff = Outage(log, "start_failed", "start_recovered"), Backoff(*OPEN_BACKOFF)
        while not self._stop.is_set():
            try:
                if not attempt():
                    return False
                outage.recover()
                return True
            except Unavailable as error:
                if self.mode is Mode.ONCE:
                    raise
                for part in self.health.unready():
                    self.health.set(part, False, error.public)
                outage.fail(error, always_visible=True)
                self.health.beat()
                backoff.fail()
                self._stop.wait(backoff.delay())
        return False

    def _try_to_open(self) -> bool:
        """Open in a thread, so that what hangs stops neither the heartbeats nor a signal; False when stopped."""
        attempt = Attempt(self._open_parts)
        while not attempt.finished(TICK / 2):
            self.health.beat()
            if self._stop.is_set():
                return False
        attempt.raise_error()
        return True

    def _open_parts(self) -> None:
        require_places(self.settings, self.mode)
        self._parts.open(self.mode)

    def _begin(self) -> None:
        parts, settings, model = self._parts, self.settings, self._parts.wiring.model
        conditional_writes = parts.wiring.conditional_writes
        self.metrics.conditional_writes(conditional_writes.enforced if conditional_writes else {})
        if parts.embedded:
            self._state = StateFolder(settings.state_path)
        self._start_sender()
        if self.mode.works:
            self._monitor = self._make_monitor()
            if self.mode is not Mode.ONCE:  # which loads a model only if there is a job
                self._monitor.pool.start()
        if self.mode.watches:
            self.metrics.listing_interval(settings.rescan_seconds)
            if parts.wiring.source_is_bucket:
                self.metrics.events_expected(settings.events != "listing")
            self._intake = make_intake(parts, self.mode, self.metrics, self.health, self.run_summary, self._wake)
            self._intake.start()
        if self._frontend:
            self._frontend.open(parts, self._wake, *self._pool_for_frontend())
        if parts.wiring.shared:
            threading.Thread(target=self._watch_broker, daemon=True, name="broker").start()
        log.info(
            "started",
            mode=self.mode.value,
            source=settings.source_uri,
            sink=settings.sink_uri,
            model=model.name,
            strong=settings.strong,
            outputs=self._outputs,
            devices=[keeper.worker for keeper in self._monitor.pool.keepers] if self._monitor else [],
            temporary_files_removed=parts.swept,
            resumed=parts.resumed,
        )
        if model.limits:
            log.warning("model_limits_throughput", model=model.name, problem=model.limits)

    def _pool_for_frontend(self) -> tuple[Callable[[], None], Callable[[], Sequence[WorkerKeeper]]]:
        """Functions that hurry and list the workers of this process, if it has any."""
        if self._monitor is None:
            return lambda: None, lambda: ()
        pool = self._monitor.pool
        return pool.hurry, lambda: pool.keepers

    def _start_sender(self) -> None:
        """Deliver what is in the embedded queue's outbox. With a broker's queue, each worker delivers its own."""
        if not (self.settings.notify and self._parts.embedded):
            return

        def report(progress: Progress) -> None:
            self.metrics.report("supervisor", NotificationsReport(progress=progress))

        self._sender = Sender(self._parts.embedded.outbox, self._parts.wiring.open_target(self._parts.counts), report)
        self._sender.start()

    def _make_monitor(self) -> WorkerMonitor:
        settings, parts = self.settings, self._parts
        workers = plan_workers(settings.devices, settings.threads, third_party=parts.wiring.needs_unknown_memory)

        def make_start(owner: str, place: int) -> WorkerStart:
            wiring = parts.wiring
            device = workers.devices[place]
            return WorkerStart(
                owner=owner,
                device=device,
                threads=workers.threads,
                cores=workers.cores_of(place),
                codecs=workers.codecs,
                sharing=workers.sharing(device),
                settings=settings,
                model=wiring.model,
                strong=wiring.strong,
                conditional_writes=wiring.conditional_writes,
            )

        report_timeout = min(REPORT_TIMEOUT, settings.device_timeout)
        telemetry = Telemetry(
            self.metrics,
            self.health,
            self.run_summary,
            self._trace,
            parts.wiring.open_manifest(parts.counts),
            self._frontend.take_report if self._frontend else None,
        )
        return WorkerMonitor(
            workers.devices,
            make_start,
            report_timeout,
            parts.sink,
            parts.embedded,
            telemetry,
            self._forget,
            self._notice_change,
            parts.wiring.notifications,
        )

    def _notice_change(self) -> None:
        if self._sender:
            self._sender.wake()
        self._changed.set()

    def _forget(self, key: str) -> None:
        if self._intake:
            self._intake.forget(key)

    def _wake(self) -> None:
        if self._monitor:
            self._monitor.pool.wake()
        self._changed.set()

    # The main loop.

    def _loop(self) -> bool:
        """Run until a signal; with Mode.ONCE until no job is open (True), or the rest cannot be finished (False)."""
        once = self.mode is Mode.ONCE
        self.health.set("queue", True)
        while not self._stop.is_set():
            self.health.beat()
            if self._state and (problem := self._state.problem):
                self.why = problem
                log.error("state_deleted", problem=problem)
                return False
            listed = self.run_summary.listed  # read first: what was listed is in the queue by then
            stats = self._tick()
            if once and stats is not None and listed and not stats.open:
                return True
            if once and stats is not None and stats.open and self._monitor:
                self._monitor.pool.start()
            self.why = self._why_hopeless() if once else ""
            if self.why:
                return False
            few = once and stats is not None and 0 < stats.open < MANY_JOBS
            self._changed.wait(FINAL_TICK if few else TICK)
            self._changed.clear()
            self._stop.wait(BUSY_PAUSE if stats is not None and stats.open >= MANY_JOBS else MIN_PAUSE)
        return not once

    def _tick(self) -> QueueStats | None:
        """Do what is due regularly; returns the state of the embedded queue, None if it is not known."""
        if self._monitor:
            self._monitor.tick()
        self.metrics.counts("supervisor", self._parts.counts.snapshot())
        return self._read_queue_stats() if self._parts.embedded else None

    def _read_queue_stats(self) -> QueueStats | None:
        try:
            stats = self._parts.queue.stats()
        except Unavailable as error:
            self.health.set("queue", False, error.public)
            return None
        if self._parts.wiring.shared:  # an embedded queue that can be read may still not be writable
            self.health.set("queue", True)
        self.metrics.queue(stats)
        if self._frontend:
            self._frontend.count(stats)
        self._on_tick(self.run_summary, stats)
        return stats

    def _watch_broker(self) -> None:
        """Thread that asks the broker for the length of its queue until the daemon stops."""
        while not self._stop.is_set():
            try:
                self._read_queue_stats()
            except Exception as error:
                self.health.set("queue", False, public(error))
                log.error("queue_stats_failed", problem=str(error), exc_info=True)
            self._stop.wait(BROKER_INTERVAL)

    def _why_hopeless(self) -> str:
        """Why `once` cannot finish, empty while it may."""
        pool = self._monitor.pool if self._monitor else None
        if pool and pool.all_died_of(DeathReason.CONFIGURATION):
            return "the model cannot be used here, as the log says; `alphadrop doctor` tries it again"
        if pool and all(keeper.failures >= GIVE_UP_DEATHS for keeper in pool.keepers):
            return f"every worker died {GIVE_UP_DEATHS} times in a row; the last: {pool.keepers[0].problem}"
        if self.run_summary.transient_errors and time.monotonic() - self.run_summary.last_finished > GIVE_UP_SECONDS:
            return f"no image has finished for {GIVE_UP_SECONDS:.0f} s; the last error: {self.run_summary.last_error}"
        return ""

    def _close(self) -> bool:
        """Report not ready, take nothing new, finish the images in flight; True if that was in time."""
        self._stop.set()
        self.health.set("stopping", False, "the daemon is stopping")
        if self._intake:
            self._intake.stop()
        in_time = self._monitor.pool.stop(self.settings.drain) if self._monitor else True
        self._tick()
        self._stop_sender()
        if self._parts.embedded:
            self._rejected = self._parts.embedded.rejected(MOST_REJECTED)
        log.info("stopped", drained=in_time, **self.run_summary.outcomes)
        return in_time

    def _stop_sender(self) -> None:
        """Stop delivering. `once` delivers everything first, waiting at most `--drain` seconds for each success.

        So does a daemon whose queue was deleted: its outbox exists only as long as it is open.
        """
        if self._sender is None:
            return
        if self.mode is Mode.ONCE or (self._state and self._state.problem):
            self.undelivered = self._sender.drain(self.settings.drain, give_up=lambda: self._signals > 0)
        self._sender.stop(SENDER_TIMEOUT)

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in self._stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_signals(self) -> list[signal.Signals]:
        """The signals that stop the daemon, without those that its parent made it ignore, as nohup does SIGHUP."""
        return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop in good order at the first signal, at once at the second."""
        # A terminal that is closed may send SIGHUP twice: once its shell, and once the kernel.
        if number != signal.SIGHUP or not self._signals:
            self._signals += 1
        if self._signals > 1:
            for keeper in self._monitor.pool.keepers if self._monitor else []:
                if keeper.pid:
                    os.kill(keeper.pid, signal.SIGKILL)
            os._exit(128 + number)
        # In a thread, since an Event is not reentrant: this may have interrupted the main thread inside of one.
        threading.Thread(target=self._request_stop, daemon=True, name="signal").start()

    def _request_stop(self) -> None:
        self._stop.set()
        self._changed.set()


class StateFolder:
    """Detects when the embedded queue's file is deleted or replaced while it is open.

    SQLite goes on with the deleted file, and a worker that is started later uses the other one: two queues.
    """

    def __init__(self, state: Path) -> None:
        """Remember the queue's file in this folder, which is open by now."""
        self._path = state / "queue.sqlite"
        self._identity = self._look()

    @property
    def problem(self) -> str:
        """What has happened and what to do; empty while the file is the one that was opened."""
        if self._look() == self._identity:
            return ""
        return (
            f"{self._path} was deleted or replaced while the daemon ran; start it again: the queue is rebuilt from "
            "source and sink. Leave the state folder alone, or stop the daemon before"
        )

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _with_real_folders(settings: Settings) -> Settings:
    """The same with folders by their real paths: a symlink that is changed later does not redirect new workers."""
    folders = {"source": settings.source_path, "sink": settings.sink_path}
    real: dict[str, object] = {name: str(path) for name, path in folders.items() if path is not None}
    return settings.model_copy(update=real | {"state": settings.state_path})


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One daemon for one state folder. Raises ConfigurationError naming the other one, or Unavailable."""
    with ExitStack() as stack:
        try:
            state.mkdir(parents=True, exist_ok=True)
            file = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, file)
            _lock(file)
        except OSError as error:
            raise Unavailable(f"--state {state} cannot be written to or locked: {error.strerror}") from error
        yield


def _lock(file: int) -> None:
    """Lock the open file and write this process's id into it. Raises OSError, or ConfigurationError if it is locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        raise ConfigurationError(
            f"Another alphadrop (process {holder or 'unknown'}) works on these folders; stop it, or "
            "give this one another --state if it is to work on others."
        ) from error
    os.ftruncate(file, 0)
    os.write(file, str(os.getpid()).encode())
