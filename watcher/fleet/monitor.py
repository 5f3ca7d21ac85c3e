"""Turns what workers report into metrics, log lines and traces, and requeues the jobs of workers that die."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from watcher.core.errors import Unavailable
from watcher.core.jobs import Job, Outcome, Rejection
from watcher.core.outage import Outage
from watcher.fleet.device_faults import DeviceFaults
from watcher.fleet.keeper import WorkerEvents
from watcher.fleet.pool import WorkerPool
from watcher.notify.writer import NotificationWriter
from watcher.protocol import (
    DeathReason,
    ImageReport,
    ReadyReport,
    RehearsalReport,
    Report,
    SuspectReport,
    UnavailableReport,
    WorkerStart,
    WorkerState,
)
from watcher.queues.base import EmbeddedQueue
from watcher.stores.base import Store
from watcher.stores.error_records import write_error_record
from watcher.telemetry.health import Health
from watcher.telemetry.manifest import ManifestWriter
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary, log_image
from watcher.telemetry.tracing import Trace

log = structlog.get_logger(__name__)

OUTAGE_TIMEOUT = 30.0
"""Seconds without a further failure after which an outage is over, whether or not an image has succeeded since."""
QUIET_SECONDS = 20.0
"""The same where an image has succeeded; longer than workers wait before they try again, so that a service that fails
now and then is one outage, not many."""
_ACTIONS = {
    "queue_wait": "asking the queue for images",
    "read": "reading an image from the source",
    "put": "writing an output to the sink",
}
"""What a worker does in a stage, for `/readyz`."""


@dataclass(frozen=True)
class Telemetry:
    """The parts of the daemon that record workers' reports."""

    metrics: Metrics
    health: Health
    summary: RunSummary
    trace: Trace
    manifest: ManifestWriter | None = None
    """Lists the images that are rejected here, not by a worker."""
    listener: Callable[[str, Report], None] | None = None
    """Called with each worker's name and report, too; it returns at once."""


@dataclass
class _StageOutage:
    outage: Outage
    last_failure: float
    succeeded: bool = False
    """Whether an image has passed the stage since then."""


class StageOutages:
    """The stages that fail with transient errors; logs one line when each outage begins and one when it ends."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._outages: dict[str, _StageOutage] = {}

    def record_failure(self, worker: str, report: UnavailableReport, trace_id: str) -> None:
        """Record that a worker's image, or its request to the queue, failed in a stage."""
        fields: dict[str, Any] = {"stage": report.stage, "device": worker, "key": report.key}
        if trace_id:
            fields["trace_id"] = trace_id
        if report.key:
            log.debug("image_requeued", reason=report.reason, problem=report.detail, **fields)
        else:
            log.debug("lease_request_failed", reason=report.reason, problem=report.detail, **fields)
        with self._lock:
            now = self._clock()
            if report.stage not in self._outages:
                outage = Outage(log, "outage_began", "outage_ended", self._clock)
                self._outages[report.stage] = _StageOutage(outage, now)
            entry = self._outages[report.stage]
            entry.last_failure, entry.succeeded = now, False
            entry.outage.record(report.reason, report.detail, **fields)

    def record_success(self, report: ImageReport) -> None:
        """Record which stages an image has passed."""
        with self._lock:
            for stage, entry in self._outages.items():
                if report.outcome is Outcome.WRITTEN or stage in report.stages:
                    entry.succeeded = True

    def end_outages(self) -> bool:
        """End the outages that are over; returns whether there is none any more."""
        with self._lock:
            for stage, entry in list(self._outages.items()):
                quiet = self._clock() - entry.last_failure
                if quiet > (QUIET_SECONDS if entry.succeeded else OUTAGE_TIMEOUT):
                    del self._outages[stage]
                    entry.outage.recover(stage=stage)
            return not self._outages


class WorkerMonitor:
    """The worker pool, and what happens when one of its workers reports or dies."""

    def __init__(
        self,
        devices: Sequence[str],
        make_start: Callable[[str, int], WorkerStart],
        report_timeout: float,
        sink: Store,
        embedded: EmbeddedQueue | None,
        telemetry: Telemetry,
        forget_key: Callable[[str], None],
        on_change: Callable[[], None],
        notifications: NotificationWriter | None = None,
    ) -> None:
        """`forget_key` is called with the key of an image that was gone or stale, `on_change` after every event."""
        self._faults = DeviceFaults(self._handle_fault)
        events = WorkerEvents(
            self._handle_report,
            self._handle_worker_death,
            self._update_states,
            self._faults.after_death,
        )
        self.pool = WorkerPool(devices, make_start, events, report_timeout)
        self._sink, self._embedded, self._telemetry = sink, embedded, telemetry
        self._forget_key, self._on_change = forget_key, on_change
        self._announce = notifications.rejected if notifications else None
        self._outages = StageOutages()
        self._unreleased: deque[tuple[str, str, bool]] = deque()
        """Worker, owner name and blame of each death whose leases the queue has not taken back yet."""
        self._failing = False
        """Whether images cannot be processed at present, as far as `/readyz` is concerned."""

    def tick(self) -> None:
        """End the outages that are over, and release what could not be released. Called about once a second."""
        for _ in range(len(self._unreleased)):
            death = self._unreleased.popleft()
            if self._release_leases(*death):
                break
            log.info("leases_released", device=death[0])
        if self._outages.end_outages() and self._failing:
            self._set_failing(False)

    def _handle_report(self, worker: str, report: Report) -> None:
        telemetry = self._telemetry
        telemetry.metrics.report(worker, report)
        if telemetry.listener:
            telemetry.listener(worker, report)
        if isinstance(report, ImageReport):
            if report.outcome is Outcome.WRITTEN:
                self._faults.image_finished(worker)
            telemetry.summary.record(report)
            log_image(worker, report, telemetry.trace(worker, report))
            if report.outcome in (Outcome.GONE, Outcome.STALE):
                self._forget_key(report.key)
            else:
                self._outages.record_success(report)
                if self._failing:
                    self._set_failing(False)
            self._on_change()
        elif isinstance(report, UnavailableReport):
            self._handle_failure(worker, report)
        elif isinstance(report, SuspectReport):
            self._faults.suspect_started(worker, report.key)
        elif isinstance(report, RehearsalReport):
            self._faults.rehearsed(worker, passed=report.passed)
        elif isinstance(report, ReadyReport):
            log.info("worker_ready", device=worker, name=report.device_name, seconds=report.warmup_seconds)

    def _handle_failure(self, worker: str, report: UnavailableReport) -> None:
        telemetry = self._telemetry
        telemetry.summary.transient_errors += 1
        telemetry.summary.last_error = f"{report.stage}: {report.detail}"
        trace_id = telemetry.trace(worker, report) if report.key else ""
        self._outages.record_failure(worker, report, trace_id)
        self._set_failing(True, f"{_ACTIONS.get(report.stage, report.stage)}: {report.public}")

    def _set_failing(self, failing: bool, why: str = "") -> None:
        self._failing = failing
        self._telemetry.health.set("images", not failing, why)

    def _handle_worker_death(self, worker: str, owner: str, reason: DeathReason, unasked: bool) -> None:
        """Requeue the dead worker's jobs as crash suspects; one that has killed three workers is quarantined.

        A broker needs no help: it delivers again what was not acknowledged.
        """
        self._telemetry.metrics.worker_died(worker, reason if unasked else "")
        blame = unasked and self._faults.died(worker, reason)
        if problem := self._release_leases(worker, owner, blame):
            log.error("leases_not_released", device=worker, problem=problem)
        if reason is not DeathReason.EXIT:
            self._sink.sweep()  # the temporary file that it was writing

    def _release_leases(self, worker: str, owner: str, blame: bool) -> str:
        """Requeue a dead worker's jobs; returns why the queue cannot do it now, after which `tick` tries again."""
        try:
            embedded, announce = self._embedded, self._announce
            for job, rejection in embedded.abandon(owner, blame=blame, announce=announce) if embedded else ():
                self._quarantine(worker, job, rejection)
        except Unavailable as error:
            self._unreleased.append((worker, owner, blame))
            return str(error)
        self.pool.wake()
        return ""

    def _handle_fault(self, worker: str, at_fault: bool) -> None:
        """Record that a device fails on every picture, or works again; without any other, the daemon is not ready."""
        self._telemetry.metrics.device_at_fault(worker, at_fault)
        faulty = self._faults.workers
        useless = len(faulty) == len(self.pool.keepers)
        why = f"{', '.join(faulty)}: every picture fails, also alone; replace the device" if useless else ""
        self._telemetry.health.set("devices", not useless, why)

    def _quarantine(self, worker: str, job: Job, rejection: Rejection) -> None:
        report = ImageReport(
            key=job.ref.key,
            job=job.id,
            outcome=Outcome.REJECTED,
            output=job.output,
            reason=rejection.reason,
            detail=rejection.detail,
            stage="infer",
        )
        try:
            write_error_record(self._sink, job, rejection)
            if self._telemetry.manifest:
                self._telemetry.manifest.add(report)
        except Unavailable as error:
            log.error("error_record_failed", key=job.ref.key, problem=str(error))
        self._handle_report(worker, report)

    def _update_states(self) -> None:
        states = self.pool.states()
        self._telemetry.metrics.workers(states)
        ready = states[WorkerState.READY] > 0
        self._telemetry.health.set("workers", ready, "" if ready else "; ".join(self.pool.problems()))
        self._on_change()
