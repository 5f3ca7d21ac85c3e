"""FIFO lock around CPU-bound work, which one thread at a time holds on a single core, and a few beside a GPU.

Threads that share a core are otherwise switched by the kernel every few milliseconds, and evict each other's data from
the cache (docs/decisions/0023-fifo-lock-on-a-single-core.md). Beside a GPU, more threads than cores keep the device
thread from the interpreter and from a core, while the GPU waits for what it launches.
"""

from __future__ import annotations

import threading
from collections import deque


class FifoLock:
    """A lock that is granted in the order of arrival, to `places` threads at a time. For `with`; not reentrant."""

    def __init__(self, places: int = 1) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # released by a thread that held the lock, whose place stays taken meanwhile

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
