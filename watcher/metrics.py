"""Every series and every bucket. The supervisor calls, with what workers report; no series has a key in a label.

Names and units follow https://prometheus.io/docs/practices/naming/. Every set of labels stands at 0 from the start (a
device's: from when it is first heard of), since a rate has no value where a series has just appeared.

The label `device` is the worker's name, which is its device's, numbered where several workers share one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from watcher.queues.base import QueueStats
from watcher.reports import STAGES, BatchReport, DeviceReport, ImageReport, Ready, Report, TroubleReport
from watcher.series import Family, Totals, show, zero
from watcher.sources.base import Hint
from watcher.work import Outcome

OTHER = "other"
REJECTIONS: Mapping[str, str] = {
    "not_a_picture": "decode",
    "truncated": "decode",
    "unsupported": "decode",
    "too_large": "decode",
    "picture": "decode",
    "device_memory": "infer",
    "output_exists": "put",
    "output_taken": "put",
    "kills_worker": "infer",
    OTHER: OTHER,
}
"""The reasons why an image is rejected, and the stage they belong to."""
TROUBLES = ("unavailable", "source_missing", OTHER)
"""Why an image was given back, as the names of exceptions in snake case."""
TRIGGERS = ("full", "idle", "timeout", "closed")
WORKER_STATES = ("starting", "ready", "draining", "failed", "stopped", OTHER)
SIGNALS = ("sigkill", "sigsegv", "sigabrt", "sigbus", "sigterm")
DEATHS = ("exit", "error", "silent", "device_lost", "device_stuck", "configuration", *SIGNALS, OTHER)
"""Why a worker ended unasked."""

STAGE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
IMAGE_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
LISTING_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300)
BATCH_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
COVERAGE = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1)
"""Fine at both ends: an empty and a full matte are what goes wrong."""


class Metrics:
    """All that /metrics shows, in a registry of its own. Every method may be called from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._images = _Images(self.registry, clock)
        self._devices = _Devices(self.registry)
        self._queue = _Queue(self.registry)
        self._source = _Source(self.registry, clock)
        self._build = Info("alphadrop_build", "What runs here.", registry=self.registry)
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
            case Ready():
                self._devices.ready(worker, report)

    def arrived(self, hint: Hint, count: int = 1) -> None:
        """Whole images, or new versions of them, were noticed."""
        self._images.discovered.labels(hint).inc(count)

    def queue(self, stats: QueueStats) -> None:
        """Show a snapshot of the queue."""
        self._queue.show(stats)

    def workers(self, states: Mapping[str, int]) -> None:
        """How many worker processes are in which of WORKER_STATES; what is not named is 0."""
        show(self._devices.workers, WORKER_STATES, states)

    def restarted(self, device: str, reason: str) -> None:
        """A worker has ended unasked, of one of DEATHS, and another one is started."""
        self._devices.restarted(device, reason)

    def source(self, healthy: bool) -> None:
        """Whether arrivals can be noticed."""
        self._source.healthy.set(healthy)

    def overflowed(self) -> None:
        """Events of the source were lost."""
        self._source.overflows.inc()

    def scanned(self, found: int, seconds: float) -> None:
        """A full listing has ended that found so many images which nothing had announced."""
        self._source.scanned(found, seconds)

    def build_info(self, version: str, model: str, digest: str) -> None:
        """What runs: alphadrop's version, the model's name and the digest of its weights."""
        self._build.info({"version": version, "model": model, "digest": digest})

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type: OpenMetrics where the Accept header asks for it, else the text format."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _Images(Family):
    """What became of images."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        super().__init__(registry)
        self._clock = clock
        self.discovered = self.counter("images_discovered", "New images by how they were noticed.", "hint")
        self._processed = self.counter("images_processed", "Images that have ended, by outcome.", "outcome")
        self._failures = self.counter("failures", "Rejected images and troubles.", "stage", "reason")
        self._retries = self.counter("retries", "Images given back, to be tried again.", "stage")
        self._stages = self.histogram("stage_duration_seconds", "Time in each stage.", STAGE_SECONDS, "stage")
        self._whole = self.histogram("image_duration_seconds", "From arrival to durable output.", IMAGE_SECONDS)
        self._read = self.counter("read_bytes", "Bytes of images read.")
        self._written = self.counter("written_bytes", "Bytes of outputs written.")
        self._pixels = self.counter("pixels", "Pixels of outputs written.")
        self._coverage = self.histogram("matte_coverage_ratio", "Mean alpha of an output.", COVERAGE)
        self._last = self.gauge("last_written_timestamp_seconds", "When an output was last written; 0 is never.")
        self._start()

    def _start(self) -> None:
        for series, labels in ((self.discovered, Hint), (self._processed, Outcome), (self._retries, (*STAGES, OTHER))):
            zero(series, labels)
        zero(self._stages, STAGES)
        for reason, stage in REJECTIONS.items():
            self._failures.labels(stage, reason)
        for stage in (*STAGES, OTHER):
            for reason in TROUBLES:
                self._failures.labels(stage, reason)

    def ended(self, report: ImageReport) -> None:
        self._processed.labels(Outcome(report.outcome)).inc()
        self._read.inc(report.bytes_in)
        for stage in STAGES:
            if stage in report.stages:
                self._stages.labels(stage).observe(report.stages[stage])
        if report.outcome == Outcome.REJECTED:
            stage = REJECTIONS.get(report.reason) or _known(report.stage, STAGES)
            self._failures.labels(stage, _known(report.reason, REJECTIONS)).inc()
        if report.outcome == Outcome.WRITTEN:
            self._output(report)

    def _output(self, report: ImageReport) -> None:
        self._whole.observe(sum(report.stages.values()))
        self._written.inc(report.bytes_out)
        self._pixels.inc(report.pixels)
        self._coverage.observe(report.coverage)
        self._last.set(self._clock())

    def given_back(self, report: TroubleReport) -> None:
        stage = _known(report.stage, STAGES)
        self._failures.labels(stage, _known(_snake(report.reason), TROUBLES)).inc()
        self._retries.labels(stage).inc(bool(report.key))  # without a key, no image was in hand yet


class _Devices(Family):
    """Workers, what they run on, and how full their batches are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.workers = self.gauge("workers", "Worker processes by state.", "state")
        self._restarts = self.counter("worker_restarts", "Workers that ended unasked.", "device", "reason")
        self._sizes = self.histogram("batch_size", "Images in a batch.", BATCH_IMAGES, "device")
        self._batches = self.counter("batches", "Batches by why they were closed.", "device", "trigger")
        self._slots = self.counter("batch_slots", "Places in batches, padding among them.", "device")
        self._limit = self.gauge("batch_limit", "Most images that a batch may have now.", "device")
        self._in_flight = self.gauge("worker_images_in_flight", "Images that a worker has in hand.", "device")
        self._busy = self.counter("device_busy_seconds", "Time that the device spent on batches.", "device")
        self._memory = self.gauge("device_memory_bytes", "Device memory; kinds do not add up.", "device", "kind")
        self._oom = self.counter("out_of_memory", "Batches that the device's memory was too small for.", "device")
        self._warmup = self.gauge("worker_warmup_seconds", "Time to load and warm up the model.", "device")
        self._info = self.info("device", "What a device is.", "device")
        self._totals = Totals()
        self._seen: set[str] = set()
        zero(self.workers, WORKER_STATES)

    def _start(self, device: str) -> None:
        if device in self._seen:
            return
        self._seen.add(device)
        for series in (self._sizes, self._slots, self._busy, self._oom, self._in_flight):
            series.labels(device)
        for trigger in (*TRIGGERS, OTHER):
            self._batches.labels(device, trigger)
        for reason in DEATHS:
            self._restarts.labels(device, reason)

    def ready(self, device: str, report: Ready) -> None:
        self._start(device)
        self._totals.forget(device)
        self._warmup.labels(device).set(report.warmup_seconds)
        self._info.labels(device).info({"name": report.device_name, "model": report.model})

    def batch(self, device: str, report: BatchReport) -> None:
        self._start(device)
        self._sizes.labels(device).observe(report.size)
        self._slots.labels(device).inc(report.slots)
        self._batches.labels(device, _known(report.trigger, TRIGGERS)).inc()

    def beat(self, device: str, report: DeviceReport) -> None:
        self._start(device)
        self._limit.labels(device).set(report.batch_limit)
        self._in_flight.labels(device).set(report.in_flight)
        for kind, amount in report.memory.items():
            self._memory.labels(device, kind).set(amount)
        self._busy.labels(device).inc(self._totals.growth(device, "busy", report.busy_seconds))
        self._oom.labels(device).inc(self._totals.growth(device, "oom", report.out_of_memory))

    def restarted(self, device: str, reason: str) -> None:
        self._start(device)
        self._totals.forget(device)
        self._restarts.labels(device, _known(reason, DEATHS)).inc()
        self._in_flight.labels(device).set(0)


class _Queue(Family):
    """What waits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self._images = self.gauge("queue_images", "Images that have not ended.", "state")
        self._suspects = self.gauge("queue_suspect_images", "Pending images that a dying worker had in hand.")
        self._bytes = self.gauge("queue_pending_bytes", "Bytes of the pending images.")
        self._oldest = self.gauge("queue_oldest_pending_timestamp_seconds", "When the oldest came; 0 if none waits.")
        self._ended = self.gauge("queue_ended_images", "Ended images that the queue remembers.", "outcome")
        self._quarantined = self.gauge("quarantined_images", "Rejected images that wait for a retry.", "reason")
        self.show(QueueStats())

    def show(self, stats: QueueStats) -> None:
        show(self._images, ("pending", "in_flight"), {"pending": stats.pending, "in_flight": stats.in_flight})
        self._suspects.set(stats.suspects)
        self._bytes.set(stats.pending_bytes)
        self._oldest.set(stats.oldest_pending or 0)
        show(self._ended, (*Outcome, OTHER), stats.ended)
        show(self._quarantined, tuple(REJECTIONS), stats.reasons)


class _Source(Family):
    """How arrivals are noticed. What a listing finds is what events have missed."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        super().__init__(registry)
        self._clock = clock
        self.healthy = self.gauge("source_healthy", "1 while arrivals can be noticed.")
        self.overflows = self.counter("watch_overflows", "Times that events of the source were lost.")
        self._found = self.counter("reconcile_found", "Images that a listing found and nothing had announced.")
        self._runs = self.histogram("reconcile_duration_seconds", "Full listings of the source.", LISTING_SECONDS)
        self._last = self.gauge("reconcile_last_timestamp_seconds", "When a full listing last ended; 0 is never.")

    def scanned(self, found: int, seconds: float) -> None:
        self._found.inc(found)
        self._runs.observe(seconds)
        self._last.set(self._clock())


def _known(word: str, words: Iterable[str]) -> str:
    return word if word in words else OTHER


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
