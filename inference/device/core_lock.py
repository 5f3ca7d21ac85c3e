"""FIFO lock that serialises CPU-bound work on a single core.

Threads that share a core are otherwise switched by the kernel every few milliseconds, and evict each other's data from
the cache (docs/decisions/0023-fifo-lock-on-a-single-core.md).
"""

from __future__ import annotations

import threading
from collections import deque


class FifoLock:
    """A lock that is granted in the order of arrival. For `with`; not reentrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # released by the thread that held the lock last, which stays taken meanwhile

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
