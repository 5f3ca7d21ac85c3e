"""Wait until an image is finished: heard from the workers' reports, or found by looking at the sink."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from watcher.web.cutouts import Cutouts
from watcher.web.history import Record, Status

FIRST_LOOK, LONGEST_LOOK = 0.2, 2.0
"""Seconds between two looks where the workers are on other machines, at first and at most."""
REPORTED_LOOK = 5.0
"""The same where every report is heard: a report may be lost with its worker."""
_OPEN = frozenset((Status.QUEUED, Status.RUNNING))


class Completions:
    """Wakes requests that wait for an image."""

    def __init__(self, cutouts: Cutouts, run: Callable[..., Awaitable[Any]]) -> None:
        """`run` calls a function that waits for storage in a thread."""
        self._cutouts, self._run = cutouts, run
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        cutouts.listeners.append(self._wake)

    async def wait(self, record: Record, seconds: float) -> Record:
        """Return the record when its image is finished, or as it is after that many seconds. Raises Unavailable."""
        if record.status not in _OPEN:
            return record
        deadline = asyncio.get_running_loop().time() + seconds
        pause = FIRST_LOOK if self._cutouts.backend.embedded is None else REPORTED_LOOK
        with self._changes_of(record.id) as changed:
            while True:
                changed.clear()
                self._cutouts.backend.hurry()
                record = await self._run(self._cutouts.current, record)
                left = deadline - asyncio.get_running_loop().time()
                if record.status not in _OPEN or left <= 0:
                    return record
                try:
                    async with asyncio.timeout(min(left, pause)):
                        await changed.wait()
                except TimeoutError:
                    pause = max(pause, min(2 * pause, LONGEST_LOOK))

    @contextmanager
    def _changes_of(self, id: str) -> Iterator[asyncio.Event]:
        entry = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._waiting.setdefault(id, []).append(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting[id].remove(entry)
                if not self._waiting[id]:
                    del self._waiting[id]

    def _wake(self, id: str) -> None:
        """Called by any thread with the id of each item that has changed."""
        with self._lock:
            for loop, changed in self._waiting.get(id, ()):
                loop.call_soon_threadsafe(changed.set)
