"""A core that several threads want is had in turns, each until it has done its piece.

Left to the kernel, threads that share one core go on in slices of some milliseconds: what one of them has in the cache,
the next one drives out.
"""

from __future__ import annotations

import threading
from collections import deque


class FifoLock:
    """`with turns:` waits for its turn, first come, first served; not reentrant."""

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
        mine.acquire()  # whoever has the turn now passes it on

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
