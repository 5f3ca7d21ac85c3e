"""A source that compares the listings of source and sink at intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from watcher.core.batches import in_batches
from watcher.core.jobs import ImageRef
from watcher.sources.base import Arrival, DiscoveredVia, SourceCallbacks, Stop

BATCH = 500
"""Longest batch of arrivals."""


class OutstandingImages(Protocol):
    """Finds the images whose output is missing or outdated, one comparison after the other."""

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        """Compare once, and yield the images to process."""
        ...

    def confirm(self) -> None:
        """The consumer has taken everything that the last comparison found."""
        ...


class ReconcilingSource:
    """Makes a comparison, waits `interval` seconds, and repeats."""

    def __init__(
        self,
        outstanding: OutstandingImages,
        interval: float,
        callbacks: SourceCallbacks = SourceCallbacks(),  # noqa: B008 (frozen, without state)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An error of `outstanding` ends `arrivals`; calling it again restarts the comparison."""
        self._outstanding = outstanding
        self._interval = interval
        self._callbacks = callbacks
        self._clock = clock

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set; [] once, after the first comparison."""
        first = True
        while not stop.is_set():
            started, found = self._clock(), 0
            for batch in in_batches(self._outstanding.find(stop), BATCH):
                found += len(batch)
                yield [Arrival(ref, DiscoveredVia.RECONCILE) for ref in batch]
            if stop.is_set():
                return
            self._outstanding.confirm()
            self._callbacks.on_listing(found, self._clock() - started)
            self._callbacks.on_health(True, "")
            if first:
                yield []
            first = False
            stop.wait(self._interval)

    def forget(self, key: str) -> None:
        """Does nothing: each comparison looks at the source anew."""
