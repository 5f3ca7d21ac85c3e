"""Arrivals in a bucket, by listing it again and again: what there is, of which the sink has nothing to show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from watcher.core.batches import in_batches
from watcher.core.jobs import ImageRef
from watcher.sources.base import Arrival, Hint, SourceNews, Stop

BATCH = 500


class Finder(Protocol):
    """Makes passes over a bucket."""

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        """One pass: the images that are to be done."""
        ...

    def finished(self) -> None:
        """All that the last pass has found has been taken."""
        ...


class BucketSource:
    """One pass after the other, each `interval` seconds after the last one's end."""

    def __init__(
        self,
        finder: Finder,
        interval: float,
        news: SourceNews = SourceNews(),  # noqa: B008 (frozen, without state)
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What the finder raises ends `arrivals`: the pass is made again from its start."""
        self._finder = finder
        self._interval = interval
        self._news = news
        self._clock = clock

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set; [] once, when the first pass is through."""
        first = True
        while not stop.is_set():
            started, found = self._clock(), 0
            for batch in in_batches(self._finder.find(stop), BATCH):
                found += len(batch)
                yield [Arrival(ref, Hint.RECONCILE) for ref in batch]
            if stop.is_set():
                return
            self._finder.finished()
            self._news.scanned(found, self._clock() - started)
            self._news.healthy(True, "")
            if first:
                yield []
            first = False
            stop.wait(self._interval)
