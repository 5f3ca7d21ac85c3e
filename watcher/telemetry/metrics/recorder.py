"""Counts into the catalogue's series. The supervisor calls, with what workers report; all of it is in its process."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from watcher.core.jobs import Outcome
from watcher.core.protocol import (
    STAGES,
    BatchReport,
    CountsReport,
    DeviceReport,
    ImageReport,
    Ready,
    Report,
    TroubleReport,
)
from watcher.queues.base import QueueStats
from watcher.sources.base import Hint
from watcher.telemetry.metrics import catalogue as all_series
from watcher.telemetry.metrics.board import Board, Totals
from watcher.telemetry.metrics.series import Series
from watcher.telemetry.metrics.words import OTHER, PARTS, REJECTIONS, TROUBLES


class Metrics:
    """All that /metrics shows, in a registry of its own. Every method may be called from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._board = Board(self.registry, all_series.ALL)
        self._images = _Images(self._board, clock)
        self._devices = _Devices(self._board)
        self._counted = Totals()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def report(self, worker: str, report: Report) -> None:
        """Count what a worker has told."""
        match report:
            case ImageReport():
                self._images.ended(report)
            case TroubleReport():
                self._images.given_back(report)
            case BatchReport():
                self._devices.batch(worker, report)
            case DeviceReport():
                self._devices.beat(worker, report)
            case CountsReport():
                self.counts(worker, report.counts)
            case Ready():
                self._counted.forget(worker)
                self._devices.ready(worker, report)

    def counts(self, process: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Show what a process has counted since its start: see `counts.Counts.snapshot`."""
        for name, by_label in counts.items():
            for label, total in by_label.items():
                growth = self._counted.growth(process, f"{name}:{label}", total)
                self._board.add(all_series.COUNTS[name], label, by=growth)

    def capabilities(self, enforced: Mapping[str, bool]) -> None:
        """Show what the sink's store enforces; a folder has none of these."""
        self._board.show(all_series.CAPABILITY, enforced)

    def arrived(self, hint: Hint, count: int = 1) -> None:
        """Whole images, or new versions of them, were noticed."""
        self._board.add(all_series.DISCOVERED, hint, by=count)

    def queue(self, stats: QueueStats) -> None:
        """Show a snapshot of the queue."""
        board = self._board
        board.show(all_series.QUEUE, {"pending": stats.pending, "in_flight": stats.in_flight})
        board.set(all_series.SUSPECTS, stats.suspects)
        board.set(all_series.QUEUE_BYTES, stats.pending_bytes)
        board.set(all_series.OLDEST, stats.oldest_pending or 0)
        board.show(all_series.ENDED, stats.ended)
        board.show(all_series.QUARANTINED, stats.reasons)

    def readiness(self, missing: Iterable[str]) -> None:
        """Which parts keep the daemon from being ready."""
        parts = dict.fromkeys((part if part in PARTS else OTHER for part in missing), 1)
        self._board.set(all_series.READY, not parts)
        self._board.show(all_series.UNREADY, parts)

    def workers(self, states: Mapping[str, int]) -> None:
        """How many worker processes are in which state; what is not named is 0."""
        self._board.show(all_series.WORKERS, states)

    def died(self, device: str, reason: str = "") -> None:
        """A worker has ended; with a reason, unasked, and another one is started."""
        self._counted.forget(device)
        self._devices.died(device, reason)

    def source(self, healthy: bool) -> None:
        """Whether arrivals can be noticed."""
        self._board.set(all_series.HEALTHY, healthy)

    def overflowed(self) -> None:
        """Events of the source were lost."""
        self._board.add(all_series.OVERFLOWS)

    def listings(self, interval: float) -> None:
        """Full listings will be made, so many seconds apart."""
        self._board.set(all_series.INTERVAL, interval)

    def scanned(self, found: int, seconds: float) -> None:
        """A full listing has ended that found so many images which nothing had announced."""
        self._board.add(all_series.FOUND, by=found)
        self._board.add(all_series.RUNS, "ok")
        self._board.observe(all_series.LISTING, seconds)
        for series in (all_series.LAST_LISTING, all_series.LAST_GOOD_LISTING):
            self._board.set(series, self._clock())

    def scan_failed(self) -> None:
        """A full listing could not be finished."""
        self._board.add(all_series.RUNS, "failed")
        self._board.set(all_series.LAST_LISTING, self._clock())

    def build_info(self, version: str, model: str, digest: str) -> None:
        """What runs: alphadrop's version, the model's name and the digest of its weights."""
        self._board.tell(all_series.BUILD, {"version": version, "model": model, "digest": digest})

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics where the Accept header asks for it, else the text format."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Images:
    """What became of images."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board, self._clock = board, clock

    def ended(self, report: ImageReport) -> None:
        board = self._board
        board.add(all_series.PROCESSED, report.outcome)
        board.add(all_series.READ, by=report.bytes_in)
        for stage in STAGES:
            if stage in report.stages:
                board.observe(all_series.STAGE, report.stages[stage], stage)
        board.add(all_series.DECODED, by=report.pixels)
        if report.outcome == Outcome.REJECTED:
            stage = REJECTIONS.get(report.reason) or _known(report.stage, STAGES)
            board.add(all_series.FAILURES, stage, _known(report.reason, REJECTIONS))
        if report.outcome == Outcome.WRITTEN:
            self._output(report)

    def _output(self, report: ImageReport) -> None:
        board = self._board
        board.observe(all_series.WHOLE, sum(report.stages.values()))
        board.add(all_series.WRITTEN, by=report.bytes_out)
        board.add(all_series.PIXELS, by=report.pixels)
        board.observe(all_series.COVERAGE_RATIO, report.coverage)
        board.set(all_series.LAST_WRITTEN, self._clock())

    def given_back(self, report: TroubleReport) -> None:
        stage = _known(report.stage, STAGES)
        self._board.add(all_series.FAILURES, stage, _known(_snake(report.reason), TROUBLES))
        self._board.add(all_series.RETRIES, stage, by=bool(report.key))  # without a key, none was in hand yet


class _Devices:
    """Workers, what they run on, and how full their batches are."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._totals = Totals()
        self._stages: dict[str, Mapping[str, int]] = {}
        self._lock = threading.Lock()

    def ready(self, device: str, report: Ready) -> None:
        self._board.open(device)
        self._totals.forget(device)
        self._board.set(all_series.WARMUP, report.warmup_seconds, device)
        facts = {"name": report.device_name, "model": report.model, "uuid": report.uuid}
        self._board.tell(all_series.DEVICE_INFO, facts, device)

    def batch(self, device: str, report: BatchReport) -> None:
        self._board.open(device)
        self._board.observe(all_series.BATCH_SIZE, report.size, device)
        self._board.add(all_series.SLOTS, device, by=report.slots)
        self._board.add(all_series.BATCHES, device, report.trigger)

    def beat(self, device: str, report: DeviceReport) -> None:
        board = self._board
        board.open(device)
        board.set(all_series.LIMIT, report.batch_limit, device)
        board.set(all_series.WORKER_IN_FLIGHT, report.in_flight, device)
        board.set(all_series.RESIDENT, report.resident_bytes, device)
        for kind in all_series.MEMORY.labels["kind"]:
            if kind in report.memory:
                board.set(all_series.MEMORY, report.memory[kind], device, kind)
        for name, series in _CARD.items():
            if name in report.card:
                board.set(series, report.card[name], device)
            else:  # it may have told once
                board.withdraw(series, device)
        self._grow(all_series.BUSY, device, report.busy_seconds)
        self._grow(all_series.OUT_OF_MEMORY, device, report.out_of_memory)
        self._grow(all_series.CPU, device, report.cpu_seconds)
        self._in_flight(device, report.stages)

    def _grow(self, series: Series[Counter], device: str, total: float) -> None:
        self._board.add(series, device, by=self._totals.growth(device, series.name, total))

    def died(self, device: str, reason: str) -> None:
        """Whatever is known of the device now, it is not this."""
        board = self._board
        board.open(device)
        self._totals.forget(device)
        if reason:
            board.add(all_series.RESTARTS, device, reason)
        board.set(all_series.WORKER_IN_FLIGHT, 0, device)
        for series in (all_series.LIMIT, all_series.RESIDENT, all_series.MEMORY, *_CARD.values()):
            board.withdraw(series, device)
        self._in_flight(device, {})

    def _in_flight(self, device: str, stages: Mapping[str, int]) -> None:
        with self._lock:
            self._stages[device] = stages
            sums = {stage: sum(by.get(stage, 0) for by in self._stages.values()) for stage in (*STAGES, OTHER)}
            self._board.show(all_series.IN_FLIGHT, sums)


_CARD = {
    "utilization": all_series.UTILIZATION,
    "power": all_series.POWER,
    "temperature": all_series.TEMPERATURE,
}
"""What a report names of a card, see `inference.device.nvml`."""


def _known(word: str, words: Iterable[str]) -> str:
    return word if word in words else OTHER


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
