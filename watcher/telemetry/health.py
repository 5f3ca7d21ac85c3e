"""Readiness of the daemon's parts and liveness of its supervisor, for `/readyz` and `/livez`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

HEARTBEAT_TIMEOUT = 30.0
"""Seconds without a heartbeat of the supervisor's main loop after which the process counts as hung."""


class Health:
    """Which parts are not ready and why, and when the supervisor's main loop last ran. Thread-safe."""

    def __init__(self, *parts: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Each of `parts` counts as not ready until `set` reports it."""
        self.clock = clock
        self._lock = threading.Lock()
        self._unready = dict.fromkeys(parts, "starting")
        self._last_beat = clock()

    def set(self, part: str, ready: bool, reason: str = "") -> None:
        """Record whether a part is ready.

        `reason` says briefly why not. `/readyz` shows it to anyone, so it must contain no keys and no credentials.
        """
        with self._lock:
            if ready:
                self._unready.pop(part, None)
            else:
                self._unready[part] = reason

    def unready(self) -> dict[str, str]:
        """The parts that are not ready, sorted by name, each with the reason; empty when the daemon is ready."""
        with self._lock:
            return dict(sorted(self._unready.items()))

    def beat(self) -> None:
        """Record that the supervisor's main loop is running."""
        self._last_beat = self.clock()

    def alive(self, now: float | None = None) -> bool:
        """Whether the last heartbeat is recent enough; `now` is a reading of `clock`."""
        return (self.clock() if now is None else now) - self._last_beat <= HEARTBEAT_TIMEOUT
