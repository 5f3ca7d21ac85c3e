"""Records events and workers' reports in the metrics. The supervisor calls it, so all values live in its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from watcher.core.jobs import Outcome
from watcher.notify.progress import Progress
from watcher.protocol import (
    STAGES,
    BatchReport,
    CountsReport,
    HeartbeatReport,
    ImageReport,
    NotificationsReport,
    ReadyReport,
    Report,
    UnavailableReport,
)
from watcher.queues.base import QueueStats
from watcher.sources.base import DiscoveredVia
from watcher.telemetry.metrics import definitions
from watcher.telemetry.metrics.labels import OTHER, PARTS, REJECTIONS, TRANSIENT_ERRORS
from watcher.telemetry.metrics.registry import CumulativeTotals, Metric, MetricRegistry


class Metrics:
    """All metrics of this process, in a registry of their own. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._metrics = MetricRegistry(self.registry, definitions.ALL)
        self._images = _Images(self._metrics, clock)
        self._devices = _Devices(self._metrics)
        self._notifications = _Notifications(self._metrics)
        self._count_totals = CumulativeTotals()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def report(self, worker: str, report: Report) -> None:
        """Record a worker's report."""
        match report:
            case ImageReport():
                self._images.finished(report)
            case UnavailableReport():
                self._images.requeued(report)
            case BatchReport():
                self._devices.batch(worker, report)
            case HeartbeatReport():
                self._devices.heartbeat(worker, report)
            case NotificationsReport():
                self._notifications.report(worker, report.progress)
            case CountsReport():
                self.counts(worker, report.counts)
            case ReadyReport():
                self._count_totals.reset(worker)
                self._devices.ready(worker, report)

    def counts(self, process: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Record the totals that a process has counted since it started; see `counts.Counts.snapshot`."""
        for name, by_label in counts.items():
            for label, total in by_label.items():
                increment = self._count_totals.increment(process, f"{name}:{label}", total)
                self._metrics.increment(definitions.COUNTS[name], label, by=increment)

    def conditional_writes(self, honoured: Mapping[str, bool]) -> None:
        """Record which conditions of a write the sink's store honours; empty for a folder."""
        for condition, is_honoured in honoured.items():
            self._metrics.set(definitions.SINK_CONDITIONAL_WRITES, is_honoured, condition)

    def discovered(self, via: DiscoveredVia, count: int = 1) -> None:
        """Record new images, or new versions of images."""
        self._metrics.increment(definitions.IMAGES_DISCOVERED, via, by=count)

    def queue(self, stats: QueueStats) -> None:
        """Record a snapshot of the queue; what the queue cannot know has no sample."""
        self._set_or_remove(definitions.QUEUE_CRASH_SUSPECTS, stats.suspects, known="suspects" not in stats.unknown)
        self._set_or_remove(
            definitions.QUEUE_PENDING_BYTES, stats.pending_bytes, known="pending_bytes" not in stats.unknown
        )
        self._set_or_remove(
            definitions.QUEUE_OLDEST_PENDING, stats.oldest_pending or 0, known=stats.oldest_pending is not None
        )
        self._metrics.set(definitions.QUEUE_IMAGES, stats.pending, "pending")
        if "in_flight" not in stats.unknown:
            self._metrics.set(definitions.QUEUE_IMAGES, stats.in_flight, "in_flight")
        if "ended" not in stats.unknown:
            self._metrics.set_each(definitions.QUEUE_FINISHED, stats.ended)
        if "reasons" not in stats.unknown:
            self._metrics.set_each(definitions.QUARANTINED, stats.reasons)

    def _set_or_remove(self, metric: Metric[Gauge], value: float, *, known: bool) -> None:
        if known:
            self._metrics.set(metric, value)
        else:
            self._metrics.remove(metric)

    def readiness(self, unready: Iterable[str]) -> None:
        """Record the parts that keep the daemon from being ready."""
        parts = dict.fromkeys((part if part in PARTS else OTHER for part in unready), 1)
        self._metrics.set(definitions.READY, not parts)
        self._metrics.set_each(definitions.UNREADY, parts)

    def workers(self, states: Mapping[str, int]) -> None:
        """Record the number of worker processes in each state; a state that is not given has none."""
        self._metrics.set_each(definitions.WORKERS, states)

    def worker_died(self, device: str, reason: str = "") -> None:
        """Record the end of a worker; `reason` is empty when it was asked to end, and will not be replaced."""
        self._count_totals.reset(device)
        self._notifications.died(device)
        self._devices.died(device, reason)

    def device_at_fault(self, device: str, at_fault: bool) -> None:
        """Record whether a device fails on every picture."""
        self._metrics.add_device(device)
        self._metrics.set(definitions.DEVICE_AT_FAULT, at_fault, device)

    def source_health(self, healthy: bool) -> None:
        """Record whether the source can be watched and listed."""
        self._metrics.set(definitions.SOURCE_HEALTHY, healthy)

    def overflowed(self) -> None:
        """Record that events of the source were lost."""
        self._metrics.increment(definitions.WATCH_OVERFLOWS)

    def listing_interval(self, seconds: float) -> None:
        """Record the configured time between two full listings; 0 where none are made."""
        self._set_or_remove(definitions.RECONCILE_INTERVAL, seconds, known=seconds > 0)

    def events_expected(self, expected: bool) -> None:
        """Record whether the settings say that the bucket's events arrive."""
        self._metrics.set(definitions.EVENTS_EXPECTED, expected)

    def listing_succeeded(self, found: int, seconds: float) -> None:
        """Record a full listing that took `seconds` and found `found` images which no event had announced."""
        self._metrics.increment(definitions.RECONCILE_FOUND, by=found)
        self._metrics.increment(definitions.RECONCILE_RUNS, "ok")
        self._metrics.observe(definitions.RECONCILE_DURATION, seconds)
        for metric in (definitions.RECONCILE_LAST_RUN, definitions.RECONCILE_LAST_SUCCESS):
            self._metrics.set(metric, self._clock())

    def listing_failed(self) -> None:
        """Record a full listing that was not completed."""
        self._metrics.increment(definitions.RECONCILE_RUNS, "failed")
        self._metrics.set(definitions.RECONCILE_LAST_RUN, self._clock())

    def api_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record an answered request to the API: its path as a pattern, the status, and how long it took."""
        outcome = {202: "accepted", 429: "limited"}.get(status) or {4: "refused", 5: "failed"}.get(status // 100, "ok")
        self._metrics.increment(definitions.API_REQUESTS, method, route, outcome)
        self._metrics.observe(definitions.API_DURATION, seconds, method, route)

    def build_info(self, version: str, model: str, digest: str) -> None:
        """Record alphadrop's version, the model's name and the digest of its weights."""
        self._metrics.set_info(definitions.BUILD, {"version": version, "model": model, "digest": digest})

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics if the Accept header asks for it, otherwise the text format."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Notifications:
    """Metrics of the notifications that are sent, by the supervisor or by each worker."""

    def __init__(self, metrics: MetricRegistry) -> None:
        self._metrics = metrics
        self._latest: dict[str, Progress] = {}
        """The last report of each process."""
        self._lock = threading.Lock()

    def report(self, process: str, progress: Progress) -> None:
        for result, count in progress.results.items():
            self._metrics.increment(definitions.NOTIFICATIONS_SENT, result, by=count)
        for seconds in progress.delays:
            self._metrics.observe(definitions.NOTIFICATION_DELAY, seconds)
        with self._lock:
            self._latest[process] = progress
            self._set_waiting()

    def died(self, process: str) -> None:
        with self._lock:
            if self._latest.pop(process, None):
                self._set_waiting()

    def _set_waiting(self) -> None:
        """Of all processes together; unknown as long as one of them does not know."""
        pending = [progress.pending for progress in self._latest.values()]
        known = [count for count in pending if count is not None]
        if known and len(known) == len(pending):
            self._metrics.set(definitions.NOTIFICATIONS_PENDING, sum(known))
        else:
            self._metrics.remove(definitions.NOTIFICATIONS_PENDING)
        times = [progress.oldest for progress in self._latest.values() if progress.oldest is not None]
        if times:
            self._metrics.set(definitions.NOTIFICATIONS_OLDEST, min(times))
        else:
            self._metrics.remove(definitions.NOTIFICATIONS_OLDEST)


class _Images:
    """Metrics of finished and requeued images."""

    def __init__(self, metrics: MetricRegistry, clock: Callable[[], float]) -> None:
        self._metrics, self._clock = metrics, clock

    def finished(self, report: ImageReport) -> None:
        metrics = self._metrics
        metrics.increment(definitions.IMAGES_PROCESSED, report.outcome)
        metrics.increment(definitions.READ_BYTES, by=report.bytes_in)
        for stage in STAGES:
            if stage in report.stages:
                metrics.observe(definitions.STAGE_DURATION, report.stages[stage], stage)
        metrics.increment(definitions.DECODED_PIXELS, by=report.pixels)
        if report.outcome == Outcome.REJECTED:
            stage = REJECTIONS.get(report.reason) or _known(report.stage, STAGES)
            metrics.increment(definitions.FAILURES, stage, _known(report.reason, REJECTIONS))
        if report.outcome == Outcome.WRITTEN:
            self._written(report)

    def _written(self, report: ImageReport) -> None:
        metrics = self._metrics
        metrics.observe(definitions.IMAGE_DURATION, sum(report.stages.values()))
        metrics.increment(definitions.WRITTEN_BYTES, by=report.bytes_out)
        for output in report.outputs:
            metrics.increment(definitions.OUTPUTS_WRITTEN, output.name, by=output.written)
        metrics.increment(definitions.WRITTEN_PIXELS, by=report.pixels)
        metrics.observe(definitions.MATTE_COVERAGE, report.coverage)
        if report.confidence is not None:
            metrics.observe(definitions.CONFIDENCE, report.confidence)
            metrics.increment(definitions.IMAGES_BY_MODEL, _cascade_model(report))
        metrics.set(definitions.LAST_OUTPUT, self._clock())

    def requeued(self, report: UnavailableReport) -> None:
        stage = _known(report.stage, STAGES)
        self._metrics.increment(definitions.FAILURES, stage, _known(report.reason, TRANSIENT_ERRORS))
        self._metrics.increment(definitions.RETRIES, stage, by=bool(report.key))  # without a key, no image was leased


class _Devices:
    """Metrics of workers, their devices and their batches."""

    def __init__(self, metrics: MetricRegistry) -> None:
        self._metrics = metrics
        self._totals = CumulativeTotals()
        self._stages: dict[str, Mapping[str, int]] = {}
        """Images in flight by stage, by device."""
        self._cards: dict[str, str] = {}
        """The card of each worker, as the label of what its driver says."""
        self._lock = threading.Lock()

    def ready(self, device: str, report: ReadyReport) -> None:
        self._metrics.add_device(device)
        self._totals.reset(device)
        self._metrics.set(definitions.WORKER_WARMUP, report.warmup_seconds, device)
        facts = {"name": report.device_name, "model": report.model, "uuid": report.uuid}
        self._metrics.set_info(definitions.DEVICE_INFO, facts, device)

    def batch(self, device: str, report: BatchReport) -> None:
        self._metrics.add_device(device)
        self._metrics.observe(definitions.BATCH_SIZE, report.size, device)
        self._metrics.increment(definitions.BATCH_SLOTS, device, by=report.slots)
        self._metrics.increment(definitions.BATCHES, device, report.trigger)

    def heartbeat(self, device: str, report: HeartbeatReport) -> None:
        metrics = self._metrics
        metrics.add_device(device)
        metrics.set(definitions.BATCH_SIZE_LIMIT, report.batch_limit, device)
        metrics.set(definitions.WORKER_IN_FLIGHT, report.in_flight, device)
        if report.resident_bytes is not None:
            metrics.set(definitions.WORKER_MEMORY, report.resident_bytes, device)
        card = self._card(device, report)
        for kind in definitions.DEVICE_MEMORY.labels["kind"]:
            if kind in report.memory:
                metrics.set(definitions.DEVICE_MEMORY, report.memory[kind], card if kind in _OF_CARD else device, kind)
        for name, metric in _GPU.items():
            if name in report.gpu:
                metrics.set(metric, report.gpu[name], card)
            else:  # an earlier heartbeat may have had it
                metrics.remove(metric, card)
        self._increment(definitions.DEVICE_BUSY, device, report.busy_seconds)
        self._increment(definitions.DEVICE_OUT_OF_MEMORY, device, report.out_of_memory)
        self._increment(definitions.WORKER_CPU, device, report.cpu_seconds)
        self._set_in_flight(device, report.stages)

    def _card(self, worker: str, report: HeartbeatReport) -> str:
        """Return the label of what workers that share a card all read from its driver, so that it counts once."""
        card = report.device if report.device.startswith("cuda") else worker
        self._cards[worker] = card
        return card

    def _increment(self, metric: Metric[Counter], device: str, total: float) -> None:
        self._metrics.increment(metric, device, by=self._totals.increment(device, metric.name, total))

    def died(self, device: str, reason: str) -> None:
        metrics = self._metrics
        metrics.add_device(device)
        self._totals.reset(device)
        if reason:
            metrics.increment(definitions.WORKER_RESTARTS, device, reason)
        metrics.set(definitions.WORKER_IN_FLIGHT, 0, device)
        gauges = (definitions.BATCH_SIZE_LIMIT, definitions.WORKER_MEMORY, definitions.DEVICE_MEMORY, *_GPU.values())
        for gauge in gauges:
            metrics.remove(gauge, device)
            metrics.remove(gauge, self._cards.get(device, device))  # until the next heartbeat of one that shares it
        self._set_in_flight(device, {})

    def _set_in_flight(self, device: str, stages: Mapping[str, int]) -> None:
        with self._lock:
            self._stages[device] = stages
            sums = {stage: sum(by.get(stage, 0) for by in self._stages.values()) for stage in (*STAGES, OTHER)}
            self._metrics.set_each(definitions.IMAGES_IN_FLIGHT, sums)


_OF_CARD = frozenset(("total", "used"))
"""Kinds of memory that are of the whole card."""
_GPU = {
    "utilization": definitions.DEVICE_UTILIZATION,
    "power": definitions.DEVICE_POWER,
    "temperature": definitions.DEVICE_TEMPERATURE,
}
"""The metrics of a heartbeat's GPU readings; see `inference.device.nvml`."""


def _cascade_model(report: ImageReport) -> str:
    if report.by_strong:
        return "strong"
    return "fast" if report.other_confidence is None else "fast_kept"


def _known(label: str, listed: Iterable[str]) -> str:
    return label if label in listed else OTHER
