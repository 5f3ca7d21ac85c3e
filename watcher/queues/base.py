"""The interface of a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Job, Lease, Rejection
from watcher.core.notification import Notification
from watcher.queues.outbox import Outbox

MOST_REJECTED = 100_000
"""How many rejected images a command or a summary handles at most."""
Announce = Callable[[Job, Rejection, float], Notification]
"""Makes the notification of a rejected job; the number is `Lease.found_at`."""


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A snapshot of what is in a queue."""

    pending: int = 0
    in_flight: int = 0
    suspects: int = 0
    """Pending jobs that may have crashed a worker; of a broker, only those that this process has received."""
    pending_bytes: int = 0
    oldest_pending: float | None = None
    """The Unix time at which the oldest pending job was put, None where nothing is pending."""
    ended: dict[str, int] = field(default_factory=dict)
    """Finished jobs by outcome, including the rejected ones."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Rejected jobs by reason."""
    unknown: frozenset[str] = field(default=frozenset(), compare=False)
    """The names of the fields above that this queue cannot know: they are 0 or empty, and must not be shown."""

    @property
    def open(self) -> int:
        """Jobs that have not finished."""
        return self.pending + self.in_flight


class Leases(list[Lease]):
    """The jobs that `Queue.lease` handed out."""

    def __init__(self, leases: Iterable[Lease] = (), *, waited: bool = False) -> None:
        """`waited`: the queue has waited for a job in vain, so it may be asked again at once."""
        super().__init__(leases)
        self.waited = waited


class Queue(Protocol):
    """Jobs, each leased to one worker at a time. Every method but `close` may raise `Unavailable`."""

    @property
    def outbox(self) -> Outbox:
        """The notifications that ended leases have left. A broker's queue has those of this process only."""
        ...

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        """Add jobs, and return how many of them were new as far as the queue knows.

        The embedded queue knows every job. It does not add an id that it has, in whatever state. A new version of a
        key, or the same version under another recipe, replaces the key's jobs that are not leased; it waits while an
        older one is leased. A broker adds whatever it is given: the sink shows what is done already, and the source
        what is stale.

        `urgent` jobs, and those of them that are pending already, are leased before the others, without starving them.
        A broker delivers in its own order.
        """
        ...

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        """Lease up to `limit` jobs to the worker `owner`; an empty result says whether the queue has waited for jobs.

        No two leased jobs have the same key or the same output; with a broker, no two in this process. The embedded
        queue leases a crash suspect by itself, with `Lease.alone` set, and only if `alone` is True (the worker has
        nothing in flight). A broker's queue leases it beside others, with `Lease.suspect` set.
        """
        ...

    def lease_last_suspect(self, owner: str) -> Leases:
        """Lease the job that became a crash suspect last to a worker with nothing in flight; [] if there is none.

        With `Lease.alone` set. A broker delivers in its own order, so its queue returns nothing.
        """
        ...

    def stats(self) -> QueueStats:
        """Count what is in the queue now; a broker counts messages only, and estimates some of them."""
        ...

    def suspects(self) -> int:
        """Count the crash suspects that wait for an idle worker; cheap enough to ask before every lease."""
        ...

    def close(self) -> None:
        """Close the queue. Unfinished leases are released, now or when their visibility timeout ends."""
        ...


class EmbeddedQueue(Queue, Protocol):
    """A queue on one machine, whose owner notices when a worker dies."""

    def abandon(self, owner: str, *, blame: bool, announce: Announce | None = None) -> list[tuple[Job, Rejection]]:
        """Turn a dead worker's leases into crash suspects, and return those that are now quarantined.

        `announce` makes the notification that each of those leaves in the outbox.
        With `blame`, the death counts against a job that ran alone; after DEATHS_TO_QUARANTINE deaths it is rejected
        with the reason `kills_worker`.
        """
        ...

    def abandon_all(self) -> int:
        """Turn the leases of an earlier daemon into crash suspects, and return their number; no death is counted."""
        ...

    def known(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the state (`pending`, `leased`, `done` or `rejected`) of those job ids that the queue knows."""
        ...

    def urgent(self) -> int:
        """Count the urgent jobs that are pending."""
        ...

    def reopen(self, ids: Sequence[str]) -> int:
        """Make done jobs pending again, because their output is missing; returns how many were done."""
        ...

    def retry(self, pattern: str = "*") -> list[Job]:
        """Make rejected jobs whose key matches a case-sensitive shell pattern pending again, with no deaths counted."""
        ...

    def rejected(self, limit: int = 1000, reason: str = "") -> list[tuple[Job, Rejection]]:
        """List the rejected jobs, newest first; with `reason`, those that were rejected for it."""
        ...

    def forget_key(self, key: str) -> None:
        """Forget the jobs of an image that is gone, except a leased one."""
        ...
