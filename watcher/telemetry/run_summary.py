"""Counts of one run, for the summary and the progress bar, and the log line of each finished image."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import structlog

from watcher.protocol import STAGES, ImageReport

EXAMPLES = 3
"""How many keys of empty cut-outs are kept as examples; a daemon runs for months, so the list must not grow."""

UNSURE_BELOW = 0.5
"""Confidence below which the summary counts an image as unsure: its cut-out is more likely bad than good."""

log = structlog.get_logger(__name__)


@dataclass
class RunSummary:
    """Counts of one run."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Rejected images by reason."""
    unsure: int = 0
    """Images whose confidence is below UNSURE_BELOW."""
    empty: int = 0
    """Cut-outs that are almost entirely transparent."""
    first_empty: list[str] = field(default_factory=list)
    """Keys of the first empty cut-outs, at most EXAMPLES."""
    unreadable_folders: int = 0
    """Folders of the source that the last listing could not read."""
    transient_errors: int = 0
    last_error: str = ""
    """The text of the last transient error."""
    last_finished: float = field(default_factory=time.monotonic)
    """When the last image finished, or the start of the run, as a monotonic time."""
    listed: bool = False
    """Whether everything that the first listing of the source found is in the queue."""

    def record(self, report: ImageReport) -> None:
        """Count a finished image."""
        self.outcomes[report.outcome] += 1
        if report.reason:
            self.reasons[report.reason] += 1
        if report.confidence is not None and report.confidence < UNSURE_BELOW:
            self.unsure += 1
        if report.empty:
            self._record_empty(report.key)
        self.last_finished = time.monotonic()

    def _record_empty(self, key: str) -> None:
        self.empty += 1
        if len(self.first_empty) < EXAMPLES:
            self.first_empty.append(key)


def log_image(device: str, report: ImageReport, trace_id: str = "") -> None:
    """Log one line for a finished image, with the duration of each stage in seconds."""
    stages = {stage: round(report.stages[stage], 4) for stage in STAGES if stage in report.stages}
    fields: dict[str, object] = {
        "key": report.key,
        "outcome": report.outcome,
        **({"stage": report.stage, "reason": report.reason, "detail": report.detail} if report.reason else {}),
        "device": device,
        "seconds": round(sum(report.stages.values()) - report.stages.get("queue_wait", 0), 3),
        "stages": stages,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "pixels": report.pixels,
        "job": report.job,
        "finished_at": round(report.ended or time.time(), 3),
    }
    written = [output.key for output in report.outputs if output.written]
    if written not in ([], [report.output]):
        fields["outputs"] = written
    if report.confidence is not None:
        fields |= {"confidence": report.confidence, "doubts": report.doubts, "model": report.model}
    if report.other_confidence is not None:
        fields["other_confidence"] = report.other_confidence
    if report.truncated:
        fields["incomplete"] = True
    if trace_id:
        fields["trace_id"] = trace_id
    if report.reason:
        log.warning("image", **fields)
    elif report.empty:
        log.warning("image", **fields, output=report.output, coverage=report.coverage, empty=True)
    elif report.truncated:
        log.warning("image", **fields, output=report.output, coverage=report.coverage)
    else:
        log.info("image", **fields, output=report.output, coverage=report.coverage)
