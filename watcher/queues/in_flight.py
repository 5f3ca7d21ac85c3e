"""The jobs that one process has received from a broker: which of them may be leased, and when.

Pure state without I/O, threads or clock; the owner makes sure that one thread at a time uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from watcher.core.backoff import Backoff
from watcher.core.jobs import Job
from watcher.queues.brokers.base import Message

MESSAGE_BACKOFF = (1.0, 30.0)
"""First and longest wait, in seconds, before a message that could not be read is read again."""
SUSPECT_DELIVERIES = 2
"""From this delivery on, an earlier consumer may have crashed while it held the message."""


@dataclass(eq=False, slots=True)
class ReceivedMessage:
    """A message that this process has received and not yet acknowledged."""

    message: Message
    received_at: float
    """Unix time."""
    open_jobs: int = 0
    """Its jobs that have not finished."""
    retries: Backoff = field(default_factory=lambda: Backoff(*MESSAGE_BACKOFF))
    """How often it was released or could not be read."""
    requeue: bool = False
    """Given up before its jobs finished, so that another consumer must receive it."""
    lost: bool = False
    """The broker has taken it back: it is no longer ours."""

    @property
    def suspect(self) -> bool:
        """Whether an earlier consumer may have crashed while it held the message."""
        return self.message.deliveries >= SUSPECT_DELIVERIES


@dataclass(eq=False, slots=True)
class JobEntry:
    """One job of a received message."""

    received: ReceivedMessage
    job: Job
    position: int
    """Its place in the order in which jobs are leased."""
    not_before: float = 0.0
    """The time before which it must not be leased, by the owner's clock."""


@dataclass(slots=True)
class InFlightJobs:
    """Received messages to be read, jobs that wait, and jobs that are leased."""

    unread: dict[ReceivedMessage, float] = field(default_factory=dict)
    """The time from which each message may be read, by the owner's clock."""
    waiting: list[JobEntry] = field(default_factory=list)
    leased: set[JobEntry] = field(default_factory=set)
    _next_position: int = 0

    @property
    def backlog(self) -> int:
        """Number of unread messages and waiting jobs; both count towards the limit on how many more to receive."""
        return len(self.unread) + len(self.waiting)

    @property
    def suspects(self) -> int:
        """How many waiting jobs are crash suspects."""
        return sum(entry.received.suspect for entry in self.waiting)

    def messages(self) -> set[ReceivedMessage]:
        """Every message that is unread, or has a job that waits or is leased."""
        return {*self.unread, *(entry.received for entry in (*self.waiting, *self.leased))}

    def next_due(self) -> float | None:
        """The time at which the first delayed message or job is due, None where nothing is delayed."""
        delayed = (entry.not_before for entry in self.waiting if entry.not_before)
        return min((*self.unread.values(), *delayed), default=None)

    def add(self, received: ReceivedMessage, not_before: float = 0.0) -> None:
        """Add a message that may be read from `not_before` on."""
        self.unread[received] = not_before

    def readable(self, now: float) -> list[ReceivedMessage]:
        """The messages that may be read now."""
        return [received for received, not_before in self.unread.items() if not_before <= now]

    def set_jobs(self, received: ReceivedMessage, jobs: Sequence[Job]) -> bool:
        """Store what a message announces; False if the message was lost in the meantime."""
        if self.unread.pop(received, None) is None:
            return False
        received.open_jobs = len(jobs)
        received.retries.reset()
        self.waiting += (JobEntry(received, job, place) for place, job in enumerate(jobs, self._next_position))
        self._next_position += len(jobs)
        return True

    def leasable(self, now: float) -> list[JobEntry]:
        """The jobs that may be leased now, in order."""
        return list(self._without_conflicts(entry for entry in self.waiting if entry.not_before <= now))

    def _without_conflicts(self, entries: Iterable[JobEntry]) -> Iterator[JobEntry]:
        """Leave out jobs whose key or output an earlier or leased job has."""
        keys = {entry.job.ref.key for entry in self.leased}
        outputs = {entry.job.output for entry in self.leased}
        for entry in entries:
            if entry.job.ref.key not in keys and entry.job.output not in outputs:
                yield entry
                keys.add(entry.job.ref.key)
                outputs.add(entry.job.output)

    def lease(self, entries: Iterable[JobEntry]) -> None:
        """Move waiting jobs to the leased ones."""
        for entry in entries:
            self.waiting.remove(entry)
            self.leased.add(entry)

    def release(self, entry: JobEntry, not_before: float) -> None:
        """Let a leased job wait again, in its old position."""
        self.leased.remove(entry)
        entry.not_before = not_before
        self.waiting.append(entry)
        self.waiting.sort(key=lambda entry: entry.position)

    def finish(self, entry: JobEntry) -> bool:
        """Remove a leased job; True if it was the last of its message."""
        self.leased.remove(entry)
        entry.received.open_jobs -= 1
        return entry.received not in self.messages()

    def drop(self, received: ReceivedMessage) -> bool:
        """Lease nothing more of a message; True if none of its jobs is leased now."""
        self.unread.pop(received, None)
        self.waiting = [entry for entry in self.waiting if entry.received is not received]
        return received not in self.messages()
