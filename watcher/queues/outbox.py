"""The interface of an outbox, and one in memory.

An outbox holds the notifications of finished images until they are delivered. It belongs to a queue: what is in it
survives as surely as the queue itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.notification import Notification

MAX_HELD = 300
"""Undelivered notifications with which a broker's queue leases nothing more: their messages are not acknowledged."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A notification that has not been delivered."""

    number: int
    """Its place in the order of all notifications of this outbox."""
    id: str
    key: str
    """The image's; notifications of one key are delivered in their order."""
    body: bytes
    finished_at: float
    """When the image was finished, as Unix time."""
    failures: int = 0
    """How often it could not be delivered."""


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """A snapshot of an outbox."""

    pending: int = 0
    """Notifications that are still to be delivered."""
    oldest: float | None = None
    """When the image of the oldest of them was finished, as Unix time; None where nothing is pending."""
    set_aside: int = 0
    """Notifications that the receiver has refused too often."""


class Outbox(Protocol):
    """Notifications that wait for delivery. Every method may raise `Unavailable`; all are thread-safe."""

    def due(self, limit: int) -> list[Waiting]:
        """At most `limit` notifications to try now, those with the fewest failures first.

        Of each key only the oldest is there: it holds back the later ones, even while it waits for its next attempt.
        """
        ...

    def next_due(self) -> float | None:
        """Seconds until the next attempt may be made, at least 0; None where nothing is pending."""
        ...

    def delivered(self, sent: Sequence[Waiting]) -> None:
        """Forget notifications that have been delivered."""
        ...

    def postpone(self, failed: Waiting, seconds: float) -> None:
        """Count a failure, and try again after `seconds`."""
        ...

    def set_aside(self, refused: Waiting, problem: str) -> None:
        """Stop trying to deliver a notification, so that it no longer holds back others of its key."""
        ...

    def stats(self) -> OutboxStats:
        """Count what is in it."""
        ...


@dataclass(eq=False)
class _Entry:
    waiting: Waiting
    ended: Callable[[], None]
    not_before: float = 0.0
    failures: int = 0


@dataclass
class MemoryOutbox:
    """An `Outbox` in the memory of one process, for a queue whose messages stay unacknowledged meanwhile."""

    clock: Callable[[], float] = time.time
    _entries: dict[int, _Entry] = field(default_factory=dict)
    _number: int = 0
    _set_aside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, notification: Notification, ended: Callable[[], None] = lambda: None) -> None:
        """Add a notification; `ended` is called once it is delivered or set aside. One that is there is not added."""
        with self._lock:
            if any(entry.waiting.id == notification.id for entry in self._entries.values()):
                return
            self._number += 1
            waiting = Waiting(
                self._number, notification.id, notification.key, notification.body(), notification.time.timestamp()
            )
            self._entries[self._number] = _Entry(waiting, ended)

    @property
    def full(self) -> bool:
        """Whether so much is undelivered that no further image should be finished."""
        return len(self._entries) >= MAX_HELD

    def due(self, limit: int) -> list[Waiting]:
        """See `Outbox.due`."""
        now = self.clock()
        with self._lock:
            ready = [entry for entry in self._first_of_each_key() if entry.not_before <= now]
            ready.sort(key=lambda entry: (entry.failures, entry.waiting.number))
            return [_counted(entry) for entry in ready[:limit]]

    def next_due(self) -> float | None:
        """See `Outbox.next_due`."""
        with self._lock:
            first = min((entry.not_before for entry in self._first_of_each_key()), default=None)
        return None if first is None else max(0.0, first - self.clock())

    def delivered(self, sent: Sequence[Waiting]) -> None:
        """See `Outbox.delivered`."""
        for waiting in sent:
            self._remove(waiting)

    def postpone(self, failed: Waiting, seconds: float) -> None:
        """See `Outbox.postpone`."""
        with self._lock:
            entry = self._entries[failed.number]
            entry.failures += 1
            entry.not_before = self.clock() + seconds

    def set_aside(self, refused: Waiting, problem: str) -> None:
        """See `Outbox.set_aside`. Only the log line remains of it."""
        self._set_aside += 1
        self._remove(refused)

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        with self._lock:
            times = [entry.waiting.finished_at for entry in self._entries.values()]
        return OutboxStats(len(times), min(times, default=None), self._set_aside)

    def _first_of_each_key(self) -> list[_Entry]:
        first: dict[str, _Entry] = {}
        for entry in self._entries.values():
            first.setdefault(entry.waiting.key, entry)
        return list(first.values())

    def _remove(self, waiting: Waiting) -> None:
        with self._lock:
            entry = self._entries.pop(waiting.number, None)
        if entry:
            entry.ended()


def _counted(entry: _Entry) -> Waiting:
    waiting = entry.waiting
    return Waiting(waiting.number, waiting.id, waiting.key, waiting.body, waiting.finished_at, failures=entry.failures)
