"""The workers from the supervisor's side: what they report, and what is done about those that die."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from watcher.core.errors import Unavailable
from watcher.core.jobs import Job, Outcome, Rejection
from watcher.fleet.keeper import Fleet, FleetNews, State
from watcher.protocol import ImageReport, ReadyReport, Report, UnavailableReport
from watcher.queues.base import EmbeddedQueue
from watcher.stores.base import Store
from watcher.stores.error_records import write_error_record
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary, log_image
from watcher.telemetry.tracing import Trace

log = structlog.get_logger(__name__)

TROUBLED = 30.0
"""Seconds for which the last trouble of an image keeps the daemon from being ready, unless one works before."""


@dataclass(frozen=True)
class Told:
    """Those who are told what workers report."""

    metrics: Metrics
    health: Health
    summary: RunSummary
    trace: Trace


class Crew:
    """The fleet with all that it tells."""

    def __init__(
        self,
        devices: Sequence[str],
        make_line: Callable[[str, str], str],
        silence: float,
        sink: Store,
        embedded: EmbeddedQueue | None,
        told: Told,
        forget: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        """`forget` takes keys of images that were gone or stale; `changed` is called when something has happened."""
        self.fleet = Fleet(devices, make_line, FleetNews(self._hear, self._bury, self._changed), silence)
        self._sink, self._embedded = sink, embedded
        self._metrics, self._health, self._summary, self._trace = told.metrics, told.health, told.summary, told.trace
        self._forget, self._tell_changed = forget, changed
        self._troubled_until = 0.0

    def look(self) -> None:
        """Called every second or so: trouble that has not come again is over."""
        if self._troubled_until and time.monotonic() > self._troubled_until:
            self._calm()

    def _hear(self, device: str, report: Report) -> None:
        """A worker's report: metrics, log line, run summary."""
        self._metrics.report(device, report)
        if isinstance(report, ImageReport):
            self._summary.record(report)
            log_image(device, report, self._trace(device, report))
            if report.outcome in (Outcome.GONE, Outcome.STALE):
                self._forget(report.key)
            elif self._troubled_until:
                self._calm()
            self._tell_changed()
        elif isinstance(report, UnavailableReport):
            self._note_trouble(device, report)
        elif isinstance(report, ReadyReport):
            log.info("worker_ready", device=device, name=report.device_name, seconds=report.warmup_seconds)

    def _note_trouble(self, device: str, report: UnavailableReport) -> None:
        self._summary.transient_errors += 1
        self._summary.last_error = f"{report.stage}: {report.detail}"
        self._troubled_until = time.monotonic() + TROUBLED
        self._health.set("images", False, f"{report.stage}: {report.public}")
        fields = {"stage": report.stage, "reason": report.reason, "problem": report.detail}
        trace_id = self._trace(device, report) if report.key else ""
        log.warning("trouble", device=device, key=report.key, **fields, **({"trace_id": trace_id} if trace_id else {}))

    def _calm(self) -> None:
        self._troubled_until = 0.0
        self._health.set("images", True)

    def _bury(self, owner: str, reason: str, blame: bool) -> None:
        """A worker is dead: its jobs become suspects, and one that has killed three workers is quarantined.

        A broker sees to that by itself: what the worker held is delivered again.
        """
        device = owner.rsplit("-", 2)[0]
        self._metrics.worker_died(device, reason if blame else "")
        try:
            for job, rejection in self._embedded.abandon(owner, blame=blame) if self._embedded else ():
                self._quarantine(device, job, rejection)
        except Unavailable as error:  # the leases stay; the next start finds them
            log.error("queue_unavailable", problem=str(error))
        self.fleet.wake()
        if reason != "exit":
            self._sink.sweep()  # what it was writing

    def _quarantine(self, device: str, job: Job, rejection: Rejection) -> None:
        try:
            write_error_record(self._sink, job, rejection)
        except Unavailable as error:
            log.error("record_not_written", key=job.ref.key, problem=str(error))
        self._hear(
            device,
            ImageReport(
                key=job.ref.key,
                job=job.id,
                outcome=Outcome.REJECTED,
                output=job.output,
                reason=rejection.reason,
                detail=rejection.detail,
                stage="infer",
            ),
        )

    def _changed(self) -> None:
        states = self.fleet.states()
        self._metrics.workers(states)
        ready = states[State.READY] > 0
        whys = sorted({keeper.why for keeper in self.fleet.keepers if keeper.why})
        self._health.set("workers", ready, "" if ready else "; ".join(whys))
        self._tell_changed()
