"""Which parts of the daemon are ready, and whether its supervisor is alive: what the probes show."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FRESH = 30.0
"""Seconds: a supervisor whose main loop has not come round for longer is stuck, and to be restarted."""


class Health:
    """Which parts are well, and when the supervisor last came round. Safe to use from any thread."""

    def __init__(self, *parts: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`parts` are not ready until they are set."""
        self.clock = clock
        self._lock = threading.Lock()
        self._unready = dict.fromkeys(parts, "starting")
        self._beat = clock()

    def set(self, part: str, ok: bool, why: str = "") -> None:
        """Say whether a part can do its work; `why` not, in a few words."""
        with self._lock:
            if ok:
                self._unready.pop(part, None)
            else:
                self._unready[part] = why

    def ready(self) -> dict[str, str]:
        """The parts that are not ready, and why; {} when all are."""
        with self._lock:
            return dict(sorted(self._unready.items()))

    def beat(self) -> None:
        """The supervisor's loop has come round."""
        self._beat = self.clock()

    def alive(self, now: float | None = None) -> bool:
        """Whether the last beat is fresh; `now` is the clock's."""
        return (self.clock() if now is None else now) - self._beat <= FRESH
