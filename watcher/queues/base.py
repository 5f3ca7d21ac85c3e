"""What a queue does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Job, Lease, Rejection


@dataclass(frozen=True, slots=True)
class QueueStats:
    """A snapshot. `oldest_pending` is a Unix time, None where nothing waits."""

    pending: int = 0
    in_flight: int = 0
    suspects: int = 0
    """Those that a dying worker had in hand; of a broker, those that wait in this process."""
    pending_bytes: int = 0
    oldest_pending: float | None = None
    ended: dict[str, int] = field(default_factory=dict)
    """Ended jobs by outcome, rejected among them."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Rejected jobs by reason."""
    unknown: frozenset[str] = field(default=frozenset(), compare=False)
    """The names of the fields above that this queue cannot know: they are 0 or empty here, and must not be shown."""

    @property
    def open(self) -> int:
        """Jobs that have not ended."""
        return self.pending + self.in_flight


class Queue(Protocol):
    """Jobs, each handed to one worker at a time. Every method but `close` may raise `Unavailable`."""

    def put(self, jobs: Sequence[Job]) -> int:
        """Add jobs; how many were new, as far as the queue knows.

        The embedded queue knows every job: one that it has (by id, in whatever state) is not added again, and a new
        version of a key, or the same version under another recipe, replaces the older jobs of the key that have not
        been leased; a leased one runs on and the new one waits until it has ended. A broker adds whatever it is given:
        the sink says what is done already, the source what is stale.
        """
        ...

    def lease(self, owner: str, limit: int, *, alone: bool) -> list[Lease]:
        """Up to `limit` jobs for the worker `owner`; [] where there is nothing to do, after a moment at a broker.

        No two leased jobs have the same key or the same output; of a broker, no two in this process. The embedded queue
        hands a suspect out by itself, with `Lease.alone` set, and only where `alone` is True (the worker has nothing in
        flight); a broker's queue hands it out like others, with `Lease.suspect` set.
        """
        ...

    def stats(self) -> QueueStats:
        """What is in the queue now; a broker knows numbers of messages only, and not all of them exactly."""
        ...

    def suspects(self) -> int:
        """How many wait for a worker with empty hands; cheap enough for every look into the queue."""
        ...

    def close(self) -> None:
        """End the use of it: what was leased and has not ended is given back, or comes back in time."""
        ...


class EmbeddedQueue(Queue, Protocol):
    """A queue of one machine, whose owner sees workers die."""

    def abandon(self, owner: str, *, blame: bool) -> list[tuple[Job, Rejection]]:
        """A worker died: its leases become suspects. Returns those that are thereby quarantined.

        With `blame`, a job that was alone in the worker has one death more against it; at DEATHS_TO_QUARANTINE it is
        rejected with the reason `kills_worker`.
        """
        ...

    def abandon_all(self) -> int:
        """At start: every lease is left over from a dead daemon. They become suspects, nothing is blamed."""
        ...

    def known(self, ids: Sequence[str]) -> dict[str, str]:
        """The state, `pending`, `leased`, `done` or `rejected`, of each of these job ids that the queue knows."""
        ...

    def reopen(self, ids: Sequence[str]) -> int:
        """Ended jobs (not rejected ones) are pending again: their output is missing."""
        ...

    def retry(self, pattern: str = "*") -> list[Job]:
        """Rejected jobs whose key matches the shell pattern (case-sensitive) are pending again, with a clean record."""
        ...

    def rejected(self, limit: int = 1000) -> list[tuple[Job, Rejection]]:
        """The rejected jobs, newest first."""
        ...

    def forget_key(self, key: str) -> None:
        """The image is gone: forget its jobs that are not leased."""
        ...
