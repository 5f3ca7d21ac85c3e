"""What a process has in hand of a broker's queue: which job may be handed out, and when.

No I/O, no threads, no clock; whoever uses it sees to it that one thread at a time does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from watcher.core.jobs import Job
from watcher.queues.brokers.base import Message

SUSPECT_DELIVERIES = 2
"""A message that is handed out for so many times may have been in the hands of a process that died."""


@dataclass(eq=False, slots=True)
class Held:
    """A message in hand."""

    message: Message
    taken_at: float
    """When it was received, as Unix time."""
    open: int = 0
    """Its jobs that have not ended."""
    tries: int = 0
    """How often it was released, or could not be read."""
    unfinished: bool = False
    """It was given up before its jobs had ended: somebody else is to have it."""
    lost: bool = False
    """It is not ours any more."""

    @property
    def suspect(self) -> bool:
        """Whether somebody may have died of it."""
        return self.message.deliveries >= SUSPECT_DELIVERIES


@dataclass(eq=False, slots=True)
class Entry:
    """A job of a message in hand."""

    held: Held
    job: Job
    place: int
    """Where it stands among the others."""
    due: float = 0.0
    """Not to be handed out before this Unix time."""


@dataclass(slots=True)
class Hand:
    """Messages that are to be read, jobs that wait, and jobs that are handed out."""

    unread: dict[Held, float] = field(default_factory=dict)
    """When each is to be read, as Unix time."""
    waiting: list[Entry] = field(default_factory=list)
    leased: set[Entry] = field(default_factory=set)
    _places: int = 0

    @property
    def size(self) -> int:
        """What was received and is not handed out: it takes up room."""
        return len(self.unread) + len(self.waiting)

    @property
    def suspects(self) -> int:
        """Jobs that wait, and that somebody may have died of."""
        return sum(entry.held.suspect for entry in self.waiting)

    def messages(self) -> set[Held]:
        """All that is in hand."""
        return {*self.unread, *(entry.held for entry in (*self.waiting, *self.leased))}

    def next_due(self) -> float | None:
        """When the first of what is delayed may be looked at, as Unix time; None where nothing is."""
        return min((*self.unread.values(), *(entry.due for entry in self.waiting if entry.due)), default=None)

    def add(self, held: Held, due: float = 0.0) -> None:
        """Take a message into hand, to be read when it is due."""
        self.unread[held] = due

    def to_read(self, now: float) -> list[Held]:
        """The messages that are due to be read."""
        return [held for held, due in self.unread.items() if due <= now]

    def read(self, held: Held, jobs: Sequence[Job]) -> bool:
        """These are its jobs. False where it has been lost meanwhile."""
        if self.unread.pop(held, None) is None:
            return False
        held.open, held.tries = len(jobs), 0
        self.waiting += (Entry(held, job, place) for place, job in enumerate(jobs, self._places))
        self._places += len(jobs)
        return True

    def next(self, now: float) -> list[Entry]:
        """What may be handed out, in order."""
        return list(self._apart(entry for entry in self.waiting if entry.due <= now))

    def _apart(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Without those whose key or output another one has."""
        keys = {entry.job.ref.key for entry in self.leased}
        outputs = {entry.job.output for entry in self.leased}
        for entry in entries:
            if entry.job.ref.key not in keys and entry.job.output not in outputs:
                yield entry
                keys.add(entry.job.ref.key)
                outputs.add(entry.job.output)

    def lease(self, entries: Iterable[Entry]) -> None:
        """Hand them out."""
        for entry in entries:
            self.waiting.remove(entry)
            self.leased.add(entry)

    def put_back(self, entry: Entry, due: float) -> None:
        """It waits again, in its old place."""
        self.leased.remove(entry)
        entry.due = due
        self.waiting.append(entry)
        self.waiting.sort(key=lambda entry: entry.place)

    def end(self, entry: Entry) -> bool:
        """It has ended. Whether its message has thereby left the hand."""
        self.leased.remove(entry)
        entry.held.open -= 1
        return entry.held not in self.messages()

    def drop(self, held: Held) -> bool:
        """Nothing more of it is to be handed out. Whether it has thereby left the hand: none is in work."""
        self.unread.pop(held, None)
        self.waiting = [entry for entry in self.waiting if entry.held is not held]
        return held not in self.messages()
