"""Counters for events too deep in the code for a report of their own. A worker sends them with each heartbeat."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """Counters of one process, by name and label. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, label: str, amount: int = 1) -> None:
        """Count, for example, `("throttled_requests", "put")`; names are the keys of `metrics.definitions.COUNTS`."""
        with self._lock:
            self._counts[name, label] += amount

    def snapshot(self) -> dict[str, dict[str, int]]:
        """The totals since the process started, by name and label."""
        with self._lock:
            counts = dict(self._counts)
        totals: dict[str, dict[str, int]] = {}
        for (name, label), number in counts.items():
            totals.setdefault(name, {})[label] = number
        return totals
