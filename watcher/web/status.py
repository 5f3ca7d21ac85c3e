"""What the daemon is doing now, for the page: from reports and the queue's last count, without asking anybody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from watcher.core.jobs import Outcome
from watcher.protocol import HeartbeatReport, ImageReport, ReadyReport, Report
from watcher.queues.base import QueueStats

WINDOW = 30
"""Seconds over which the throughput is measured."""


class Worker(Protocol):
    """What the status shows of a worker: the part of its keeper that is read here."""

    worker: str
    state: Any
    problem: str


class StatusBoard:
    """Collects the status that the page shows. `take_report` costs microseconds; everything is thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written: deque[tuple[int, int]] = deque()
        """Images that were written, by second; the newest last."""
        self._heartbeats: dict[str, HeartbeatReport] = {}
        self._names: dict[str, str] = {}
        self._started = clock()
        self.workers: Callable[[], Sequence[Worker]] = lambda: ()
        """The keepers of the workers of this process."""
        self.stats: QueueStats | None = None
        """The queue's last count; None before there is one."""

    def take_report(self, worker: str, report: Report) -> None:
        """Take a worker's report into account."""
        match report:
            case ImageReport(outcome=Outcome.WRITTEN):
                self._count(int(self._clock()))
            case HeartbeatReport():
                self._heartbeats[worker] = report
            case ReadyReport():
                self._names[worker] = report.device_name

    def _count(self, second: int) -> None:
        with self._lock:
            if self._written and self._written[-1][0] == second:
                self._written[-1] = (second, self._written[-1][1] + 1)
            else:
                self._written.append((second, 1))
            while self._written[0][0] < second - WINDOW:
                self._written.popleft()

    def throughput(self) -> float:
        """Images a second that this process's workers have written lately."""
        now = self._clock()
        with self._lock:
            images = sum(count for second, count in self._written if second > now - WINDOW - 1)
        return images / max(1.0, min(WINDOW, now - self._started))

    def snapshot(self) -> dict[str, Any]:
        """The status as JSON values; None where a value is not known."""
        workers = list(self.workers())
        rate = self.throughput() if workers else None
        stats = self.stats
        backlog = stats.open if stats else None
        return {
            "throughput": None if rate is None else round(rate, 2),
            "backlog": backlog,
            "seconds_to_drain": _seconds(backlog, rate),
            "workers": [self._worker(worker) for worker in workers],
            "devices": self._devices(workers),
        }

    def _worker(self, worker: Worker) -> dict[str, Any]:
        beat = self._heartbeats.get(worker.worker)
        return {
            "name": worker.worker,
            "state": str(worker.state),
            "problem": worker.problem or None,
            "in_flight": beat.in_flight if beat else None,
            "resident_bytes": round(beat.resident_bytes, -7)
            if beat and beat.resident_bytes
            else None,  # else it would change each second
        }

    def _devices(self, workers: Sequence[Worker]) -> list[dict[str, Any]]:
        """One for each card; its driver's figures are the same whichever of its workers reports them."""
        devices: dict[str, dict[str, Any]] = {}
        for worker in workers:
            beat = self._heartbeats.get(worker.worker)
            if beat is None:
                continue
            name = beat.device if beat.device.startswith("cuda") else worker.worker
            devices[name] = {
                "name": name,
                "model": self._names.get(worker.worker) or None,
                "memory_used": beat.memory.get("used"),
                "memory_total": beat.memory.get("total"),
                "utilization": beat.gpu.get("utilization"),
                "watts": beat.gpu.get("power"),
                "celsius": beat.gpu.get("temperature"),
            }
        return list(devices.values())


def _seconds(backlog: int | None, rate: float | None) -> int | None:
    """Seconds until the backlog is done at this rate."""
    if backlog == 0:
        return 0
    return round(backlog / rate) if backlog and rate else None
