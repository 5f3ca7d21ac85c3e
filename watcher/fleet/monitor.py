"""Turns what workers report into metrics, log lines and traces, and requeues the jobs of workers that die."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from watcher.core.errors import Unavailable
from watcher.core.jobs import Job, Outcome, Rejection
from watcher.fleet.keeper import WorkerEvents
from watcher.fleet.pool import WorkerPool
from watcher.protocol import DeathReason, ImageReport, ReadyReport, Report, UnavailableReport, WorkerStart, WorkerState
from watcher.queues.base import EmbeddedQueue
from watcher.stores.base import Store
from watcher.stores.error_records import write_error_record
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary, log_image
from watcher.telemetry.tracing import Trace

log = structlog.get_logger(__name__)

OUTAGE_MEMORY = 30.0
"""Seconds for which the last transient error keeps the daemon from being ready, unless an image finishes before."""
_ACTIONS = {
    "queue_wait": "asking the queue for images",
    "read": "reading an image from the source",
    "put": "writing an output to the sink",
}
"""What a worker does in a stage, for `/readyz`."""


@dataclass(frozen=True)
class Telemetry:
    """Where reports of workers go."""

    metrics: Metrics
    health: Health
    summary: RunSummary
    trace: Trace


class WorkerMonitor:
    """The worker pool, and what happens when one of its workers reports or dies."""

    def __init__(
        self,
        devices: Sequence[str],
        make_start: Callable[[str, str], WorkerStart],
        report_timeout: float,
        sink: Store,
        embedded: EmbeddedQueue | None,
        telemetry: Telemetry,
        forget_key: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        """`forget_key` is called with the key of an image that was gone or stale, `on_change` after every event."""
        events = WorkerEvents(self._handle_report, self._handle_worker_death, self._update_states)
        self.pool = WorkerPool(devices, make_start, events, report_timeout)
        self._sink, self._embedded, self._telemetry = sink, embedded, telemetry
        self._forget_key, self._on_change = forget_key, on_change
        self._outage_until = 0.0
        self._lease_failures: set[tuple[str, str]] = set()
        """The workers that cannot lease images at present, each with the reason."""

    def tick(self) -> None:
        """Called every second or so: an outage that nothing has reported for a while is over."""
        if self._outage_until and time.monotonic() > self._outage_until:
            self._end_outage()

    def _handle_report(self, worker: str, report: Report) -> None:
        telemetry = self._telemetry
        telemetry.metrics.report(worker, report)
        if isinstance(report, ImageReport):
            telemetry.summary.record(report)
            log_image(worker, report, telemetry.trace(worker, report))
            if report.outcome in (Outcome.GONE, Outcome.STALE):
                self._forget_key(report.key)
            elif self._outage_until:
                self._end_outage()
            self._on_change()
        elif isinstance(report, UnavailableReport):
            self._handle_unavailable(worker, report)
        elif isinstance(report, ReadyReport):
            log.info("worker_ready", device=worker, name=report.device_name, seconds=report.warmup_seconds)

    def _handle_unavailable(self, worker: str, report: UnavailableReport) -> None:
        telemetry = self._telemetry
        telemetry.summary.transient_errors += 1
        telemetry.summary.last_error = f"{report.stage}: {report.detail}"
        self._outage_until = time.monotonic() + OUTAGE_MEMORY
        telemetry.health.set("images", False, f"{_ACTIONS.get(report.stage, report.stage)}: {report.public}")
        if report.key:
            self._log_requeued(worker, report)
        elif (worker, report.reason) not in self._lease_failures:  # once, not for every attempt
            self._lease_failures.add((worker, report.reason))
            log.warning("lease_failed", device=worker, reason=report.reason, problem=report.detail)

    def _log_requeued(self, worker: str, report: UnavailableReport) -> None:
        fields = {"stage": report.stage, "reason": report.reason, "problem": report.detail}
        if trace_id := self._telemetry.trace(worker, report):
            fields["trace_id"] = trace_id
        log.warning("image_requeued", device=worker, key=report.key, **fields)

    def _end_outage(self) -> None:
        self._outage_until = 0.0
        self._telemetry.health.set("images", True)
        failures = self._lease_failures.copy()  # workers report from several threads
        self._lease_failures.clear()
        for worker in sorted({worker for worker, _ in failures}):
            log.info("lease_recovered", device=worker)

    def _handle_worker_death(self, worker: str, owner: str, reason: DeathReason, unasked: bool) -> None:
        """Requeue the dead worker's jobs as crash suspects; one that has killed three workers is quarantined.

        A broker needs no help: it delivers again what was not acknowledged.
        """
        self._telemetry.metrics.worker_died(worker, reason if unasked else "")
        try:
            for job, rejection in self._embedded.abandon(owner, blame=unasked) if self._embedded else ():
                self._quarantine(worker, job, rejection)
        except Unavailable as error:  # the leases stay; the next start finds them
            log.error("queue_unavailable", problem=str(error))
        self.pool.wake()
        if reason is not DeathReason.EXIT:
            self._sink.sweep()  # the temporary file that it was writing

    def _quarantine(self, worker: str, job: Job, rejection: Rejection) -> None:
        try:
            write_error_record(self._sink, job, rejection)
        except Unavailable as error:
            log.error("error_record_failed", key=job.ref.key, problem=str(error))
        report = ImageReport(
            key=job.ref.key,
            job=job.id,
            outcome=Outcome.REJECTED,
            output=job.output,
            reason=rejection.reason,
            detail=rejection.detail,
            stage="infer",
        )
        self._handle_report(worker, report)

    def _update_states(self) -> None:
        states = self.pool.states()
        self._telemetry.metrics.workers(states)
        ready = states[WorkerState.READY] > 0
        self._telemetry.health.set("workers", ready, "" if ready else "; ".join(self.pool.problems()))
        self._on_change()
