"""What a worker is given of a broker's queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watcher.core.jobs import Job, Outcome, Rejection
from watcher.queues.in_flight import Entry


@dataclass(frozen=True, slots=True)
class BrokerLease:
    """A job in hand. It ends once; whatever is said of it afterwards is not heard."""

    entry: Entry
    on_end: Callable[[Entry], None]
    on_release: Callable[[Entry, float], None]

    @property
    def job(self) -> Job:
        """See `Lease.job`."""
        return self.entry.job

    @property
    def alone(self) -> bool:
        """See `Lease.alone`: never, a suspect only takes turns."""
        return False

    @property
    def suspect(self) -> bool:
        """See `Lease.suspect`."""
        return self.entry.held.suspect

    @property
    def found_at(self) -> float:
        """See `Lease.found_at`; when it was received, where the broker does not say more."""
        return self.entry.held.message.sent_at or self.entry.held.taken_at

    def done(self, outcome: Outcome) -> None:
        """See `Lease.done`."""
        if outcome is Outcome.REJECTED:
            raise ValueError("a rejected job needs a reason: call reject()")
        self.on_end(self.entry)

    def release(self, delay: float = 0.0) -> None:
        """See `Lease.release`. It is this process's for some time more, see `broker.LOCAL_RETRIES`."""
        self.on_release(self.entry, delay)

    def reject(self, rejection: Rejection) -> None:
        """See `Lease.reject`. The error record in the sink is all that is kept of it."""
        self.on_end(self.entry)
