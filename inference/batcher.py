"""Micro-batching: a batch is whatever waits when the device is free, plus what arrives within a short wait."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from inference.errors import EngineClosed
from inference.picture import Trigger

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True)
class BatchLimits:
    """At most `size` items and `pixels` pixels (one item always fits); `max_wait` seconds for the oldest item."""

    size: int
    pixels: int
    max_wait: float


@dataclass(frozen=True)
class QueuedItem(Generic[T]):
    """An item that has waited `since` (seconds of the clock). Only items of equal shape share a batch."""

    item: T
    shape: Hashable
    pixels: int
    since: float


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Items of one shape; `trigger` is why the batch was closed, `wait_seconds` how long its oldest item waited."""

    items: list[T]
    shape: Hashable
    trigger: Trigger
    wait_seconds: float


@dataclass
class Batcher(Generic[T]):
    """Collects items from many threads into batches for one. It waits only while more items have been announced."""

    limits: BatchLimits
    clock: Callable[[], float] = time.monotonic
    _queues: OrderedDict[Hashable, deque[QueuedItem[T]]] = field(default_factory=OrderedDict, init=False)
    _announced: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

    def announce(self, count: int) -> None:
        """Announce `count` items that are being prepared, for which a batch waits; a negative count withdraws them."""
        with self._changed:
            self._announced += count
            if not self._announced:  # otherwise there is still something to wait for
                self._changed.notify_all()

    @contextmanager
    def announced(self, submit: Callable[[P], R]) -> Iterator[Callable[[P], R]]:
        """Announce one item until it is submitted or given up. Yields `submit`, to be called once."""
        self.announce(1)
        arrived = threading.Lock()

        def submit_announced(item: P) -> R:
            result = submit(item)
            if arrived.acquire(blocking=False):
                self.announce(-1)
            return result

        try:
            yield submit_announced
        finally:
            if arrived.acquire(blocking=False):
                self.announce(-1)

    def put(self, item: T, shape: Hashable, pixels: int) -> None:
        """Add an item. Raises EngineClosed after `close`."""
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine is closed; submit the picture to a new one.")
            self._queues.setdefault(shape, deque()).append(QueuedItem(item, shape, pixels, self.clock()))
            self._changed.notify_all()

    def take(self) -> Batch[T] | None:
        """Wait for the next batch and return it; None when closed and empty."""
        with self._changed:
            while True:
                if not self._queues:
                    if self._closed:
                        return None
                    self._changed.wait()
                    continue
                trigger, remaining = self._decide(self.clock())
                if trigger is not None:
                    return self._pop(trigger)
                self._changed.wait(remaining)

    def close(self) -> None:
        """Accept no more items; those that wait are still returned by `take`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[T]:
        """Close, and remove and return all items that wait."""
        with self._changed:
            self._closed = True
            pending = [queued.item for queue in self._queues.values() for queued in queue]
            self._queues.clear()
            self._changed.notify_all()
            return pending

    def set_size(self, size: int) -> None:
        """Change the largest batch size, after memory ran out or did not for a while."""
        with self._changed:
            self.limits = BatchLimits(size, self.limits.pixels, self.limits.max_wait)

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._queues.values()))

    def _decide(self, now: float) -> tuple[Trigger | None, float]:
        """Return why to close the oldest item's batch now; or None, and for how many seconds to wait at most."""
        queue = self._oldest()
        if self._fitting(queue) < len(queue) or len(queue) >= self.limits.size:
            return "full", 0.0
        if self._closed:
            return "closed", 0.0
        if not self._announced:
            return "idle", 0.0
        remaining = queue[0].since + self.limits.max_wait - now
        return ("timeout", 0.0) if remaining <= 0 else (None, remaining)

    def _oldest(self) -> deque[QueuedItem[T]]:
        """Return the queue whose first item has waited longest, so that no shape starves."""
        return min(self._queues.values(), key=lambda queue: queue[0].since)

    def _fitting(self, queue: deque[QueuedItem[T]]) -> int:
        """Count the items from the front that fit into one batch."""
        pixels = 0
        for count, queued in enumerate(queue):
            pixels += queued.pixels
            if count and (count == self.limits.size or pixels > self.limits.pixels):
                return count
        return len(queue)

    def _pop(self, trigger: Trigger) -> Batch[T]:
        queue = self._oldest()
        taken = [queue.popleft() for _ in range(self._fitting(queue))]
        if not queue:
            del self._queues[taken[0].shape]
        return Batch([queued.item for queued in taken], taken[0].shape, trigger, self.clock() - taken[0].since)
