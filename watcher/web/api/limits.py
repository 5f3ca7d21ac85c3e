"""How many requests wait for their pictures at a time, and when those that find no place should come back."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from watcher.web.errors import RETRY_AFTER, ApiError, too_many

LONGEST_RETRY = 60
"""Largest `Retry-After`, in seconds."""
_REMEMBERED = 64
"""Finished images from which the pace is estimated."""


class Slots:
    """Places for requests that wait. A request without one is refused, so that a client learns at once to slow down.

    For one event loop.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.free = most

    @contextmanager
    def taken(self, retry_after: int) -> Iterator[None]:
        """Take a place. Raises ApiError: 429."""
        if self.free < 1:
            raise self.refusal(retry_after)
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1

    def refusal(self, retry_after: int) -> ApiError:
        """The error for a request that has no place."""
        return too_many("rate_limit_exceeded", f"{self.most} requests wait for their pictures already", retry_after)


class Pace:
    """How fast images are finished, from the last few. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: deque[float] = deque(maxlen=_REMEMBERED)

    def finished(self) -> None:
        """Count a finished image."""
        with self._lock:
            self._ends.append(self._clock())

    def seconds_for(self, images: int) -> int:
        """Whole seconds until this many images are finished, 1 to LONGEST_RETRY; RETRY_AFTER while not known."""
        with self._lock:
            if len(self._ends) < 2:
                return RETRY_AFTER
            each = (self._clock() - self._ends[0]) / len(self._ends)
        return max(1, min(LONGEST_RETRY, math.ceil(images * each)))
