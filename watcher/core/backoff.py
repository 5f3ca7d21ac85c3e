"""Exponential back-off with jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MAX_DOUBLINGS = 30
"""More doublings exceed every `longest`, and after a thousand the number would overflow a float."""


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next attempt: about `first` seconds, doubled by each failure in a row.

    Jitter shortens each delay by up to a half, so that many processes do not return at the same moment.
    """

    first: float
    """Seconds after the first failure."""
    longest: float
    """The most seconds, after however many failures."""
    failures: int = 0
    """Failures in a row."""

    def fail(self) -> None:
        """Count a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0

    def delay(self) -> float:
        """Draw the seconds to wait now."""
        doublings = min(max(0, self.failures - 1), _MAX_DOUBLINGS)
        return random.uniform(0.5, 1.0) * min(self.longest, self.first * 2.0**doublings)
