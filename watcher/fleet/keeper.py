"""Keep one device's worker process alive: start it, read its reports, notice its death, start another."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from watcher.core.backoff import Backoff
from watcher.core.errors import public
from watcher.core.python import python
from watcher.fleet.worker_environment import WORKER_ENVIRONMENT
from watcher.protocol import (
    AfterDeath,
    BatchReport,
    Command,
    DeathReason,
    ImageReport,
    ReadyReport,
    RehearsalReport,
    Report,
    UnavailableReport,
    WorkerStart,
    WorkerState,
    decode_report,
    encode,
)

log = structlog.get_logger(__name__)

REPORT_TIMEOUT = 30.0
"""Seconds without a report after which a worker counts as hung (stopped, swapped out) and is killed."""
START_TIMEOUT = 600.0
"""The same while it loads and warms up: compiling a model takes minutes."""
RESTART_BACKOFF = (0.4, 30.0)
"""First and longest wait before a dead worker is replaced, in seconds."""
READ_INTERVAL = 0.5
"""Longest time from one read of the pipe to the next, in seconds; shorter where the pipe would fill up otherwise."""
HURRY_SECONDS = 6.0
"""How long reports are read at once after somebody has begun to wait for an image; see `WorkerPool.hurry`."""
HURRY_CHECK = 0.05
"""Seconds after which a reader that pauses notices that."""
HURRIED_INTERVAL = 0.005
"""`READ_INTERVAL` while somebody waits."""
PIPE_BYTES = 1 << 16
"""What a pipe holds at least."""
WANTED_PIPE_BYTES = 1 << 20
"""What a pipe should hold, so that a sudden flood of reports need not wait for the next read."""


@dataclass(frozen=True)
class WorkerEvents:
    """Functions for the events of workers; any keeper's thread calls them."""

    on_report: Callable[[str, Report], None]
    """Called with a worker's name and its report."""
    on_death: Callable[[str, str, DeathReason, bool], None]
    """Called when a worker has ended: with its name, its owner name, the reason, and whether it ended unasked."""
    on_change: Callable[[], None]
    """Called when the state of a worker has changed."""
    after_death: Callable[[str], tuple[AfterDeath, bool]] = lambda worker: (AfterDeath.NOTHING, True)
    """Gets the name of a worker that is about to be started; returns its `WorkerStart.after` and `count_deaths`."""


class WorkerKeeper(threading.Thread):
    """A thread that keeps one worker process running until it is told to drain."""

    def __init__(
        self,
        name: str,
        make_start: Callable[[str], WorkerStart],
        events: WorkerEvents,
        report_timeout: float = REPORT_TIMEOUT,
    ) -> None:
        """`name` is unique among workers; `make_start(owner)` is the first message to each process."""
        super().__init__(name=f"keeper-{name}", daemon=True)
        self.worker = name
        self.state = WorkerState.STARTING
        self.problem = "starting"
        """Why there is no ready worker, empty while there is one."""
        self.hurry_until = 0.0
        """A monotonic time until which reports are read at once."""
        self._restart_backoff = Backoff(*RESTART_BACKOFF)
        self.last_death: DeathReason | None = None
        self._make_start, self._events, self._report_timeout = make_start, events, report_timeout
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._generation = 0

    def run(self) -> None:
        """Run one worker after the other until told to drain or killed."""
        while not self._stopping.is_set():
            owner = f"{self.worker}-{os.getpid()}-{self._generation}"
            self._generation += 1
            try:
                self._run_worker(owner)
            except Exception as error:  # nobody else would start this device's next worker
                self._signal(signal.SIGKILL)
                self._record_failure(DeathReason.OTHER, public(error))
                log.error("worker_keeper_failed", device=self.worker, problem=str(error), exc_info=True)
            if not self._stopping.is_set():
                self._stopping.wait(self._restart_backoff.delay())
        self._set_state(WorkerState.STOPPED, "stopped")

    def send(self, line: str) -> None:
        """Write a line to the worker's input, if there is a worker."""
        with self._lock:
            process = self._process
            if process and process.stdin:
                with contextlib.suppress(OSError):  # it has just died, which `_read_reports` notices
                    process.stdin.write(line + "\n")
                    process.stdin.flush()

    def drain(self) -> None:
        """Let the worker finish its images in flight, and start no other."""
        self._stopping.set()
        if self.ident is None:
            return
        if self.state is WorkerState.READY:
            self._set_state(WorkerState.DRAINING, "draining")
            self.send(Command.DRAIN)
        elif self.state is not WorkerState.DRAINING:  # while it starts, it holds no image
            self.kill()

    def kill(self) -> None:
        """End the worker at once, and start no other. Its jobs stay in the queue."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    @property
    def failures(self) -> int:
        """Deaths in a row of workers that had done nothing yet."""
        return self._restart_backoff.failures

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        process = self._process
        return process.pid if process else None

    def _run_worker(self, owner: str) -> None:
        """Start one worker process and serve it until it has ended."""
        self._set_state(
            WorkerState.STARTING, "starting" if self.last_death is None else f"starting again; {self.problem}"
        )
        try:
            process = start_process()
        except OSError as error:  # there is no memory, process id or descriptor left, which may pass
            self._record_failure(DeathReason.OTHER, f"no worker could be started: {error.strerror}")
            return
        with self._lock:
            self._process = process
        after, count_deaths = self._events.after_death(self.worker)
        self.send(encode(self._make_start(owner).model_copy(update={"after": after, "count_deaths": count_deaths})))
        if self._stopping.is_set():  # told to stop while the process was being started
            process.kill()
        timed_out = self._read_reports(process)
        code = process.wait()
        with self._lock:
            self._process = None
        self._handle_death(owner, process, DeathReason.SILENT if timed_out else DeathReason.of_exit(code))

    def _read_reports(self, process: subprocess.Popen[str]) -> bool:
        """Pass reports on until the worker closes its output; True if it was killed because it sent none."""
        assert process.stdout
        reader = PipeReader(process.stdout.fileno(), self._is_hurried)
        while True:
            try:
                starting = self.state is WorkerState.STARTING
                lines = reader.read(START_TIMEOUT if starting else self._report_timeout)
            except TimeoutError:
                process.kill()
                return True
            if not lines:
                return False
            for line in lines:
                self._handle_line(line)

    def _is_hurried(self) -> bool:
        """Whether somebody waits for an image, or for the worker to be ready: its first heartbeats may come before."""
        return self.state is WorkerState.STARTING or time.monotonic() < self.hurry_until

    def _handle_line(self, line: str) -> None:
        try:
            report = decode_report(line)
        except ValueError as error:
            log.warning("invalid_report", device=self.worker, problem=str(error))
            return
        if isinstance(report, ReadyReport):
            self._set_state(WorkerState.READY, "")
        elif isinstance(report, ImageReport | UnavailableReport | BatchReport) or _has_passed(report):
            self._restart_backoff.reset()  # it works, so it is worth restarting it quickly
        self._events.on_report(self.worker, report)

    def _handle_death(self, owner: str, process: subprocess.Popen[str], reason: DeathReason) -> None:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        unasked = not self._stopping.is_set()
        if unasked:
            self._record_failure(reason, f"worker died: {reason}")
            log.warning("worker_died", device=self.worker, pid=process.pid, reason=reason.value)
        self._events.on_death(self.worker, owner, reason, unasked)

    def _record_failure(self, reason: DeathReason, problem: str) -> None:
        self._restart_backoff.fail()
        self.last_death = reason
        self._set_state(WorkerState.FAILED, problem)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._process and self._process.poll() is None:
                self._process.send_signal(number)

    def _set_state(self, state: WorkerState, problem: str) -> None:
        self.state, self.problem = state, problem
        self._events.on_change()


def _has_passed(report: Report) -> bool:
    return isinstance(report, RehearsalReport) and report.passed


def start_process() -> subprocess.Popen[str]:
    """Start a worker process, which then waits for its `WorkerStart`. Raises OSError."""
    command = python("-m", "watcher.worker.process")
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=worker_environment()
    )


def worker_environment() -> dict[str, str]:
    """A worker's environment: ours, and what its libraries need besides."""
    return {**WORKER_ENVIRONMENT, **os.environ}


class PipeReader:
    """Reads the lines of a pipe, for one thread: several at a time, since each wake-up costs more than a line.

    What was written stays in the pipe, also when its writer is dead, so nothing is lost by reading it later.
    """

    def __init__(self, pipe: int, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """`pipe` is a descriptor, open for as long as this is used; `is_hurried` says whether somebody waits."""
        self._pipe, self._is_hurried = pipe, is_hurried
        self._readable, self._closed = select.poll(), select.poll()
        self._readable.register(pipe, select.POLLIN)
        self._closed.register(pipe, 0)  # which reports the end of the pipe, and nothing else
        self._rest = b""
        self._last_read = self._next_read = 0.0
        with contextlib.suppress(OSError, AttributeError):  # more than this user may have, or not Linux
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, WANTED_PIPE_BYTES)

    def read(self, timeout: float) -> list[str]:
        """The next lines, at least one; [] at the end of the pipe. Raises TimeoutError."""
        until = time.monotonic() + timeout
        while True:
            self._wait_for_more()
            if not self._readable.poll(1000 * max(0.0, until - time.monotonic())):
                raise TimeoutError
            data = os.read(self._pipe, PIPE_BYTES)
            self._schedule_read(len(data))
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines or not data:
                return [line.decode("utf-8", "replace") for line in lines]

    def _wait_for_more(self) -> None:
        while (pause := self._pause()) > 0:
            if self._closed.poll(1000 * min(pause, HURRY_CHECK)):
                return

    def _pause(self) -> float:
        """Seconds until the next read."""
        due = min(self._next_read, self._last_read + HURRIED_INTERVAL) if self._is_hurried() else self._next_read
        return due - time.monotonic()

    def _schedule_read(self, size: int) -> None:
        """Read again when a quarter of a pipe will have been written at the present rate."""
        now = time.monotonic()
        quarter = (now - self._last_read) * (PIPE_BYTES / 4) / max(1, size)
        self._last_read, self._next_read = now, now + min(READ_INTERVAL, quarter)
