"""What has happened in a run: for the log, the summary and the progress bar."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import structlog

from watcher.core.protocol import STAGES, ImageReport

NAMED = 3
"""So many keys of a kind are kept: a daemon runs for months."""

log = structlog.get_logger(__name__)


@dataclass
class Tally:
    """What has happened in this run, for the summary and the progress bar."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    """Outputs that show hardly anything."""
    first_empty: list[str] = field(default_factory=list)
    """The keys of the first of them, NAMED at the most."""
    troubles: int = 0
    last_trouble: str = ""
    last_end: float = field(default_factory=time.monotonic)
    listed: bool = False
    """The first listing of the source has been handed over whole."""

    def note(self, report: ImageReport) -> None:
        """An image has ended."""
        self.outcomes[report.outcome] += 1
        if report.reason:
            self.reasons[report.reason] += 1
        if report.empty:
            self._note_empty(report.key)
        self.last_end = time.monotonic()

    def _note_empty(self, key: str) -> None:
        self.empty += 1
        if len(self.first_empty) < NAMED:
            self.first_empty.append(key)


def log_image(device: str, report: ImageReport, trace_id: str = "") -> None:
    """One line per image, with its stages' durations in seconds. Its key stands in it, and none of its bytes."""
    stages = {stage: round(report.stages[stage], 4) for stage in STAGES if stage in report.stages}
    fields: dict[str, object] = {
        "key": report.key,
        "device": device,
        "outcome": report.outcome,
        "seconds": round(sum(report.stages.values()) - report.stages.get("queue_wait", 0), 3),
        "stages": stages,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "pixels": report.pixels,
        "job": report.job,
        "ended": round(report.ended or time.time(), 3),
    }
    if trace_id:
        fields["trace_id"] = trace_id
    if report.reason:
        log.warning("image", **fields, stage=report.stage, reason=report.reason, detail=report.detail)
    elif report.empty:
        log.warning("image", **fields, output=report.output, coverage=report.coverage, empty=True)
    else:
        log.info("image", **fields, output=report.output, coverage=report.coverage)
