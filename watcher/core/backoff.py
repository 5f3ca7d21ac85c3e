"""How long to wait before something that has failed is tried again."""

from __future__ import annotations

import random

_MOST_DOUBLINGS = 30
"""More are beyond every longest pause; and after a thousand the figure would be beyond what a float holds."""


def backoff(failures: int, first: float, longest: float) -> float:
    """Seconds after so many failures in a row: `first`, doubled by each, with jitter so that not all return at once."""
    return random.uniform(0.5, 1.0) * min(longest, first * 2.0 ** min(failures, _MOST_DOUBLINGS))
