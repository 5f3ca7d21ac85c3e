"""Micro-batches: whatever is waiting when the device is free, and a little patience while more is on its way."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from inference.errors import EngineClosed
from inference.picture import Trigger

T = TypeVar("T")


@dataclass(frozen=True)
class BatchLimits:
    """`size` items and `pixels` pixels at the most (one item always fits); `max_wait` seconds for the oldest item."""

    size: int
    pixels: int
    max_wait: float


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """An item that waits: of one bucket (only equal buckets share a batch), so many pixels, since when."""

    item: T
    bucket: Hashable
    pixels: int
    since: float


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Items of one bucket; `trigger` says why it is not larger; `waited` is the oldest item's time in seconds."""

    items: list[T]
    bucket: Hashable
    trigger: Trigger
    waited: float


@dataclass
class Batcher(Generic[T]):
    """Many threads put, one takes. Work-conserving: it only waits while a batch is short *and* more is announced."""

    limits: BatchLimits
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[Hashable, deque[Waiting[T]]] = field(default_factory=OrderedDict, init=False)
    _announced: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

    def announce(self, count: int) -> None:
        """So many more (or, negative, fewer) items are being prepared: worth a short wait."""
        with self._changed:
            self._announced += count
            if not self._announced:  # else there is as much to wait for as before
                self._changed.notify_all()

    def put(self, item: T, bucket: Hashable, pixels: int) -> None:
        """Add an item. Raises EngineClosed after `close`."""
        with self._changed:
            if self._closed:
                raise EngineClosed("The engine is closed; submit the picture to a new one.")
            self._buckets.setdefault(bucket, deque()).append(Waiting(item, bucket, pixels, self.clock()))
            self._changed.notify_all()

    def take(self) -> Batch[T] | None:
        """The next batch, as soon as it makes sense; None when closed and empty."""
        with self._changed:
            while True:
                if not self._buckets:
                    if self._closed:
                        return None
                    self._changed.wait()
                    continue
                trigger, patience = self._decide(self.clock())
                if trigger is not None:
                    return self._pop(trigger)
                self._changed.wait(patience)

    def close(self) -> None:
        """No more items; what waits is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[T]:
        """Close, and return what waits instead of handing it out."""
        with self._changed:
            self._closed = True
            left = [w.item for bucket in self._buckets.values() for w in bucket]
            self._buckets.clear()
            self._changed.notify_all()
            return left

    def limit(self, size: int) -> None:
        """Change the largest batch size (the out-of-memory ladder does)."""
        with self._changed:
            self.limits = BatchLimits(size, self.limits.pixels, self.limits.max_wait)

    def __len__(self) -> int:
        with self._changed:
            return sum(len(b) for b in self._buckets.values())

    def _decide(self, now: float) -> tuple[Trigger | None, float]:
        """Why to close the oldest item's batch now, or None and how long to wait at the most."""
        bucket = self._oldest()
        if self._fits(bucket) < len(bucket) or len(bucket) >= self.limits.size:
            return "full", 0.0
        if self._closed:
            return "closed", 0.0
        if not self._announced:
            return "idle", 0.0
        patience = bucket[0].since + self.limits.max_wait - now
        return ("timeout", 0.0) if patience <= 0 else (None, patience)

    def _oldest(self) -> deque[Waiting[T]]:
        """The bucket whose first item has waited longest: none starves."""
        return min(self._buckets.values(), key=lambda b: b[0].since)

    def _fits(self, bucket: deque[Waiting[T]]) -> int:
        """How many items from the front make one batch."""
        pixels = 0
        for count, waiting in enumerate(bucket):
            pixels += waiting.pixels
            if count and (count == self.limits.size or pixels > self.limits.pixels):
                return count
        return len(bucket)

    def _pop(self, trigger: Trigger) -> Batch[T]:
        bucket = self._oldest()
        taken = [bucket.popleft() for _ in range(self._fits(bucket))]
        if not bucket:
            del self._buckets[taken[0].bucket]
        return Batch([w.item for w in taken], taken[0].bucket, trigger, self.clock() - taken[0].since)
