"""What has happened in a run: for the log, the summary and the progress bar."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import structlog

from watcher.reports import ImageReport

log = structlog.get_logger(__name__)


@dataclass
class Tally:
    """What has happened in this run, for the summary and the progress bar."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    troubles: int = 0
    last_trouble: str = ""
    last_end: float = field(default_factory=time.monotonic)
    listed: bool = False
    """The first listing of the source has been handed over whole."""

    def note(self, outcome: str, reason: str) -> None:
        """An image has ended."""
        self.outcomes[outcome] += 1
        if reason:
            self.reasons[reason] += 1
        self.last_end = time.monotonic()


def log_image(device: str, report: ImageReport) -> None:
    """One line per image."""
    fields = {
        "key": report.key,
        "device": device,
        "outcome": report.outcome,
        "seconds": round(sum(report.stages.values()) - report.stages.get("queue_wait", 0), 3),
    }
    if report.reason:
        log.warning("image", **fields, reason=report.reason, detail=report.detail)
    else:
        log.info("image", **fields, output=report.output, coverage=report.coverage)
