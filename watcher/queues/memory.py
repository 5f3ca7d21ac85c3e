"""A queue in the memory of one process, for tests. `watcher.testing` ships it with the other fakes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watcher.core.errors import WatcherError
from watcher.core.jobs import Job, Lease, Outcome, Rejection
from watcher.core.notification import Notification
from watcher.queues.base import Leases, QueueStats
from watcher.queues.outbox import MemoryOutbox
from watcher.queues.turns import Turns


@dataclass(eq=False)
class _Entry:
    """A job that has not finished."""

    job: Job
    put_at: float
    not_before: float = 0.0
    leased: bool = False
    urgent: bool = False
    leases: int = 0
    """How often it was leased: distinguishes an old lease from the present one."""


class MemoryQueue:
    """A `Queue` in a list, which leases jobs in the order of their arrival.

    It never sees a worker die, so it has no crash suspects. `failing["lease"] = Unavailable("no network")` makes a
    method fail until the entry is removed.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._turns = Turns()
        self.failing: dict[str, WatcherError] = {}
        self.finished: list[tuple[Job, Outcome | Rejection]] = []
        """Every finished job with its outcome, in order."""
        self.outbox = MemoryOutbox(clock)
        """See `Queue.outbox`."""
        self.closed = False

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        """See `Queue.put`. A job that waits or is leased is not added again; a finished one is."""
        self._fail("put")
        with self._lock:
            known = {entry.job.id for entry in self._entries}
            new = {job.id: job for job in jobs if job.id not in known}
            self._entries += (_Entry(job, self._clock()) for job in new.values())
            given = {job.id for job in jobs} if urgent else set()
            for entry in self._entries:
                entry.urgent = entry.urgent or entry.job.id in given
            return len(new)

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        """See `Queue.lease`. It never waits."""
        self._fail("lease")
        with self._lock:
            wanted = self._turns.urgent(limit)
            urgent = self._claim(wanted, [entry for entry in self._entries if entry.urgent])
            others = self._claim(limit - len(urgent), self._entries)
            self._turns.took(len(urgent) + len(others), waiting=len(urgent) == wanted)
        return Leases(urgent + others)

    def _claim(self, limit: int, entries: Sequence[_Entry]) -> list[Lease]:
        now = self._clock()
        leases: list[Lease] = []
        for entry in entries:
            if len(leases) < limit and entry.not_before <= now and not entry.leased and self._is_free(entry):
                entry.leased = True
                entry.leases += 1
                leases.append(MemoryLease(self, entry, entry.leases))
        return leases

    def lease_last_suspect(self, owner: str) -> Leases:
        """See `Queue.lease_last_suspect`: nothing."""
        return Leases()

    def stats(self) -> QueueStats:
        """See `Queue.stats`. Exact."""
        self._fail("stats")
        with self._lock:
            waiting = [entry for entry in self._entries if not entry.leased]
            rejections = [end for _, end in self.finished if isinstance(end, Rejection)]
            outcomes = [Outcome.REJECTED if isinstance(end, Rejection) else end for _, end in self.finished]
            return QueueStats(
                pending=len(waiting),
                in_flight=len(self._entries) - len(waiting),
                pending_bytes=sum(entry.job.ref.size for entry in waiting),
                oldest_pending=min((entry.put_at for entry in waiting), default=None),
                ended=dict(Counter(outcome.value for outcome in outcomes)),
                reasons=dict(Counter(rejection.reason.value for rejection in rejections)),
            )

    def suspects(self) -> int:
        """See `Queue.suspects`: always 0."""
        self._fail("suspects")
        return 0

    def close(self) -> None:
        """See `Queue.close`. What is leased waits again."""
        self.closed = True
        with self._lock:
            for entry in self._entries:
                entry.leased = False

    def _is_free(self, entry: _Entry) -> bool:
        """Whether neither the job nor another one with its key or output is leased."""
        key, output = entry.job.ref.key, entry.job.output
        leased = [other.job for other in self._entries if other.leased]
        return not any(key == other.ref.key or output == other.output for other in leased)

    def _finish(self, lease: MemoryLease, end: Outcome | Rejection, notification: Notification | None) -> None:
        self._fail("finish")
        with self._lock:
            if self._holds(lease):
                self._entries.remove(lease.entry)
                self.finished.append((lease.job, end))
                if notification:
                    self.outbox.add(notification)

    def _release(self, lease: MemoryLease, delay: float) -> None:
        self._fail("release")
        with self._lock:
            if self._holds(lease):
                lease.entry.leased = False
                lease.entry.not_before = self._clock() + delay if delay > 0 else 0.0

    def _holds(self, lease: MemoryLease) -> bool:
        entry = lease.entry
        return entry in self._entries and entry.leased and entry.leases == lease.number

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]


@dataclass(frozen=True)
class MemoryLease:
    """A `Lease` of a `MemoryQueue`. The first call that ends it counts; later ones do nothing."""

    queue: MemoryQueue
    entry: _Entry
    number: int
    """Which lease of the job it is."""
    alone: bool = False
    suspect: bool = False

    @property
    def job(self) -> Job:
        """See `Lease.job`."""
        return self.entry.job

    @property
    def found_at(self) -> float:
        """See `Lease.found_at`."""
        return self.entry.put_at

    def done(self, outcome: Outcome, notification: Notification | None = None) -> None:
        """See `Lease.done`."""
        if outcome is Outcome.REJECTED:
            raise ValueError("a rejected job needs a reason: call reject()")
        self.queue._finish(self, outcome, notification)

    def release(self, delay: float = 0.0) -> None:
        """See `Lease.release`."""
        self.queue._release(self, delay)

    def reject(self, rejection: Rejection, notification: Notification | None = None) -> None:
        """See `Lease.reject`."""
        self.queue._finish(self, rejection, notification)
