"""Notices pictures whose decoding takes too long.

Decoders are C code, which nothing but the end of the process interrupts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from watcher.core.jobs import Job

LONGEST_STEP = 5.0
"""Seconds that count at most between two looks: a process that was stopped or swapped out has decoded nothing."""


@dataclass(eq=False, slots=True)
class Decoding:
    """A picture that is being decoded."""

    job: Job
    alone: bool
    """Whether no other picture is decoded beside it, so that it takes this long through its own fault."""
    since: float
    """When it was begun or looked at last, on the watch's clock."""
    seconds: float = 0.0
    """How long it has taken up to then."""


class DecodeWatch:
    """The pictures that a worker decodes now. Safe to use from any thread."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is the number of seconds that one decoding may take."""
        self.limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._running: set[Decoding] = set()

    @contextmanager
    def watching(self, job: Job, *, alone: bool) -> Iterator[None]:
        """Watch a decoding while the block runs."""
        decoding = Decoding(job, alone, self._clock())
        with self._lock:
            self._running.add(decoding)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(decoding)

    def overdue(self) -> Decoding | None:
        """Look at all decodings, about once a second; returns one that takes too long, the longest first."""
        now = self._clock()
        with self._lock:
            for decoding in self._running:
                decoding.seconds += min(now - decoding.since, LONGEST_STEP)
                decoding.since = now
            longest = max(self._running, key=lambda decoding: decoding.seconds, default=None)
        return longest if longest and longest.seconds > self.limit else None
