"""The fleet: one worker process per device, each watched by a keeper that notices its death and starts another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from watcher.core.backoff import backoff
from watcher.fleet.pipe_lines import Lines
from watcher.fleet.worker_environment import WORKER_ENVIRONMENT
from watcher.protocol import HeartbeatReport, ReadyReport, Report, decode_report

log = structlog.get_logger(__name__)

SILENCE = 30.0
"""Seconds without a heartbeat after which a worker is taken for hung (stopped, swapped out) and killed."""
START_UP = 600.0
"""The same while it loads and warms up: compiling a model takes minutes."""
BACK_OFF = (0.2, 30.0)
"""First and longest wait before a dead worker is replaced."""


class State(StrEnum):
    """What a device's worker is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class FleetNews:
    """What the fleet tells its owner; may be called from any of its threads."""

    report: Callable[[str, Report], None]
    """A worker (its device's name) reports."""
    died: Callable[[str, str, bool], None]
    """A worker (its owner name in the queue) is dead, of a reason; True if its own doing is to be suspected."""
    changed: Callable[[], None]
    """Some worker's state is another."""


class Keeper(threading.Thread):
    """Keeps one device's worker alive: start, listen, bury, wait, start again."""

    def __init__(self, name: str, make_line: Callable[[str], str], news: FleetNews, silence: float = SILENCE) -> None:
        super().__init__(name=f"keeper-{name}", daemon=True)
        self.device = name
        self.state = State.STARTING
        self.why = "starting"
        self.failures = 0
        """Deaths in a row without having done anything."""
        self.death = ""
        """Why the last worker died, empty while none has."""
        self._make_line, self._news, self._silence = make_line, news, silence
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._births = 0

    def run(self) -> None:
        """Until told to drain or stop."""
        while not self._stopping.is_set():
            owner = f"{self.device}-{os.getpid()}-{self._births}"
            self._births += 1
            try:
                self._live(owner)
            except Exception as error:  # nobody else would start this device's next worker
                self._signal(signal.SIGKILL)
                self._fail(f"{type(error).__name__}: {error}")
                log.error("keeper_failed", device=self.device, problem=str(error), exc_info=True)
            if not self._stopping.is_set():
                self._stopping.wait(backoff(self.failures, *BACK_OFF))
        self._become(State.STOPPED, "stopped")

    def send(self, command: str) -> None:
        """A command to the worker, if there is one."""
        with self._lock:
            process = self._process
            if process and process.stdin:
                with contextlib.suppress(OSError):  # it has just died; its keeper knows soon
                    process.stdin.write(command + "\n")
                    process.stdin.flush()

    def drain(self) -> None:
        """No new worker after this one, and this one shall finish what it has in hand."""
        self._stopping.set()
        if self.ident is None:
            return
        if self.state is State.READY:
            self._become(State.DRAINING, "draining")
            self.send("drain")
        elif self.state is not State.DRAINING:  # it holds no image while it starts
            self.kill()

    def kill(self) -> None:
        """End the worker at once; nothing is lost by that."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        process = self._process
        return process.pid if process else None

    def _live(self, owner: str) -> None:
        """One worker's life."""
        self._become(State.STARTING, f"starting again; {self.death}" if self.death else "starting")
        try:
            process = start_process()
        except OSError as error:  # no memory, process id or descriptor to be had: that may pass
            self._fail(f"no worker could be started: {error.strerror}")
            return
        with self._lock:
            self._process = process
        self.send(self._make_line(owner))
        if self._stopping.is_set():  # asked to stop while the process was being made
            process.kill()
        reason = self._listen(process) or exit_reason(process.wait())
        process.wait()
        with self._lock:
            self._process = None
        self._bury(owner, process, reason)

    def _listen(self, process: subprocess.Popen[str]) -> str:
        """Pass on the reports until there are no more; the reason if the worker had to be killed."""
        assert process.stdout
        reports = Lines(process.stdout.fileno())
        while True:
            try:
                lines = reports.get(START_UP if self.state is State.STARTING else self._silence)
            except TimeoutError:
                process.kill()
                return "silent"
            if not lines:
                return ""
            for line in lines:
                self._hear(line)

    def _hear(self, line: str) -> None:
        try:
            report = decode_report(line)
        except ValueError as error:
            log.warning("report_not_understood", device=self.device, problem=str(error))
            return
        if isinstance(report, ReadyReport):
            self._become(State.READY, "")
        elif not isinstance(report, HeartbeatReport):
            self.failures = 0  # it does something, so it is worth restarting it quickly
        self._news.report(self.device, report)

    def _bury(self, owner: str, process: subprocess.Popen[str], reason: str) -> None:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        expected = self._stopping.is_set()
        if not expected:
            self._fail(f"worker died: {reason}")
            log.warning("worker_died", device=self.device, pid=process.pid, reason=reason)
        self._news.died(owner, reason, not expected)

    def _fail(self, why: str) -> None:
        self.failures += 1
        self.death = why
        self._become(State.FAILED, why)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._process and self._process.poll() is None:
                self._process.send_signal(number)

    def _become(self, state: State, why: str) -> None:
        self.state, self.why = state, why
        self._news.changed()


def start_process() -> subprocess.Popen[str]:
    """A worker that waits for its configuration. Raises OSError."""
    command = [sys.executable, "-m", "watcher.worker.process"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment()
    )


def environment() -> dict[str, str]:
    """A worker's: ours, and what it needs besides."""
    return {**WORKER_ENVIRONMENT, **os.environ}


class Fleet:
    """All keepers together."""

    def __init__(
        self,
        devices: Sequence[str],
        make_line: Callable[[str, str], str],
        news: FleetNews,
        silence: float = SILENCE,
    ) -> None:
        """`make_line(owner, device)` is a worker's configuration. Two workers may share a device's name (`cpu:2`).

        A worker without a heartbeat for `silence` seconds is taken for hung.
        """
        names = number_twins(devices)
        self.keepers = [
            Keeper(name, lambda owner, device=device: make_line(owner, device), news, silence)  # type: ignore[misc]
            for name, device in zip(names, devices, strict=True)
        ]

    def start(self) -> None:
        """Start every worker that is not started; returns at once."""
        for keeper in self.keepers:
            if keeper.ident is None:
                keeper.start()

    def wake(self) -> None:
        """Tell the workers that there may be work. One that starts looks by itself, and does not read its pipe yet."""
        for keeper in self.keepers:
            if keeper.state is State.READY:
                keeper.send("wake")

    def stop(self, deadline: float) -> bool:
        """Drain for `deadline` seconds, then kill what is left; True if all ended in time."""
        for keeper in self.keepers:
            keeper.drain()
        until = time.monotonic() + deadline
        for keeper in self.keepers:
            if keeper.ident is not None:
                keeper.join(max(0.0, until - time.monotonic()))
        late = [keeper for keeper in self.keepers if keeper.is_alive()]
        self.kill()
        return not late

    def kill(self) -> None:
        """End every worker at once."""
        for keeper in self.keepers:
            keeper.kill()
        for keeper in self.keepers:
            if keeper.ident is not None:
                keeper.join(10)

    def states(self) -> dict[str, int]:
        """How many workers are in which state, all states included."""
        counts = Counter(keeper.state for keeper in self.keepers)
        return {state.value: counts[state] for state in State}


def number_twins(devices: Sequence[str]) -> list[str]:
    """`cpu, cpu` to `cpu:0, cpu:1`: every worker has a name of its own; single ones keep theirs."""
    seen: Counter[str] = Counter()
    names = []
    for device in devices:
        names.append(f"{device}:{seen[device]}" if devices.count(device) > 1 else device)
        seen[device] += 1
    return names


def exit_reason(code: int) -> str:
    """A worker's exit code as a word for metrics and logs."""
    known = {0: "exit", 70: "device_lost", 75: "device_stuck", 78: "configuration"}
    if code < 0:
        return signal.Signals(-code).name.lower()
    return known.get(code, "error")
