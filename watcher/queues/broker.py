"""A queue on a message broker, shared by many machines.

A message announces images: it is a bucket's own event, or what `put` has sent. It is acknowledged when each of its jobs
has finished and their notifications are delivered; until then a thread extends its visibility timeout. A broker counts
deliveries, and each process that crashes with a message adds one, as does a delivery that is lost on its way. From the
second delivery on, the message's images are crash suspects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from watcher.core.counts import Counts
from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.jobs import Job, Lease, Outcome, Rejection
from watcher.core.notification import Notification
from watcher.core.outage import Outage
from watcher.queues.acknowledger import Acknowledger
from watcher.queues.base import Leases, QueueStats
from watcher.queues.brokers.base import Broker, Depth, Message
from watcher.queues.in_flight import InFlightJobs, JobEntry, ReceivedMessage
from watcher.queues.lease_extender import LeaseExtender
from watcher.queues.outbox import MAX_HELD, MemoryOutbox

log = structlog.get_logger(__name__)

LOCAL_RETRIES = 10
"""How often this process retries a message that is released or cannot be read, before another consumer gets it."""
DEPTH_SECONDS = 1.0
"""Seconds for which the queue depth that the broker reports is cached."""
UNKNOWN = frozenset({"suspects", "pending_bytes", "oldest_pending", "ended", "reasons"})
"""What a broker does not report of its queue; see `QueueStats.unknown`."""
FLUSH_SECONDS = 5.0
"""How long closing may take to acknowledge and requeue messages."""
MAX_LOGGED = 300
"""Characters that are logged of a message that is not an event."""


class BrokerQueue:
    """A `Queue` on `broker`, which it owns, for any number of threads of one worker.

    `jobs_of` returns the jobs that a message announces; it may raise NotAnEvent, which it also counts, or Unavailable.
    `body_of` is its inverse. `lease` waits up to `patience` seconds for a job. The first lease starts the threads: a
    queue that is only put into and inspected has none.
    """

    def __init__(
        self,
        broker: Broker,
        jobs_of: Callable[[bytes], Sequence[Job]],
        body_of: Callable[[Job], bytes],
        *,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        counts: Counts,
    ) -> None:
        """`clock` measures delays: it must not jump, as the wall clock does when it is set."""
        self._broker, self._jobs_of, self._body_of = broker, jobs_of, body_of
        self._patience, self._clock, self._counts = patience, clock, counts
        self._reading = Outage(log.bind(queue=broker.name), "message_postponed", "messages_readable")
        self._lock = threading.Lock()
        self._in_flight = InFlightJobs()
        self._closed = False
        self._depth: tuple[float, Depth] | None = None
        self._threads: tuple[Acknowledger, LeaseExtender] | None = None
        self.outbox = MemoryOutbox(clock)
        """See `Queue.outbox`. The job of a notification stays leased until that is delivered."""

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        """See `Queue.put`. Every job is added, since a broker cannot say what it already holds."""
        bodies = {job.id: self._body_of(job) for job in jobs}
        if bodies:
            self._broker.send(list(bodies.values()))
        return len(bodies)

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        """See `Queue.lease`. Raises RuntimeError when one of the queue's threads has died."""
        self._check().check_progress()
        if self.outbox.full:
            raise Unavailable(f"{MAX_HELD} notifications are not delivered", "notifications cannot be delivered")
        if limit < 1:
            return Leases()
        self._read_messages()
        ready, room, wait = self._plan_receive(limit)
        if room > 0:
            try:
                self._add(self._broker.receive(room, 0.0 if ready else wait))
            except Unavailable:
                if not ready:
                    raise
            self._read_messages()
        leases = self._lease_ready(limit)
        return Leases(leases, waited=not leases and not ready and room > 0 and wait > 0)

    def lease_last_suspect(self, owner: str) -> Leases:
        """See `Queue.lease_last_suspect`: nothing."""
        return Leases()

    def stats(self) -> QueueStats:
        """See `Queue.stats`. Finished jobs are unknown; the suspects are those that wait in this process."""
        now = time.monotonic()
        if self._depth is None or now - self._depth[0] > DEPTH_SECONDS:
            self._depth = now, self._broker.depth()
        depth = self._depth[1]
        with self._lock:
            suspects = self._in_flight.suspects
        unknown = UNKNOWN if depth.in_flight_everywhere else UNKNOWN | {"in_flight"}
        return QueueStats(depth.pending, depth.in_flight, suspects, unknown=unknown)

    def suspects(self) -> int:
        """See `Queue.suspects`: always 0, since a broker's suspects need no idle worker."""
        return 0

    def close(self) -> None:
        """Requeue what has not been leased, acknowledge what has finished, and disconnect. Never raises."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            unleased = [received for received in self._in_flight.messages() if self._in_flight.drop(received)]
        if self._threads:
            acknowledger, extender = self._threads
            for received in unleased:
                received.requeue = True
                acknowledger.add(received)
            acknowledger.close(FLUSH_SECONDS)
            extender.close()
        self._broker.close()

    def _check(self) -> Acknowledger:
        """Start the threads if necessary, and check that they run."""
        if self._closed:
            raise Unavailable(f"the queue {self._broker.name} is closed")
        with self._lock:
            if self._threads is None:
                acknowledger = Acknowledger(self._broker, self._keep)
                extender = LeaseExtender(self._broker, self._unacknowledged, self._lose, self._counts)
                self._threads = acknowledger, extender
        for thread in self._threads:
            thread.check()
        return self._threads[0]

    def _plan_receive(self, limit: int) -> tuple[bool, int, float]:
        """Whether a job can be leased now, how many messages there is room for, and how long to wait for them."""
        now = self._clock()
        with self._lock:
            ready = self._in_flight.leasable(now)
            due = self._in_flight.next_due()
            room = limit - self._in_flight.backlog
        return bool(ready), room, self._patience if due is None else max(0.0, min(self._patience, due - now))

    def _add(self, messages: Sequence[Message]) -> None:
        now = time.time()
        with self._lock:
            for message in messages:
                self._in_flight.add(ReceivedMessage(message, now))

    def _read_messages(self) -> None:
        """Find the jobs of every message that may be read now."""
        with self._lock:
            readable = self._in_flight.readable(self._clock())
        for received in readable:
            try:
                self._read(received)
                self._reading.recover()
            except NotAnEvent as error:
                self._set_aside(received, str(error))
            except Unavailable as error:
                self._reading.fail(error)
                self._postpone(received)

    def _read(self, received: ReceivedMessage) -> None:
        jobs = self._jobs_of(received.message.body)
        with self._lock:
            ours = self._in_flight.set_jobs(received, jobs)
        if ours and not jobs:
            self._acknowledge(received)

    def _set_aside(self, received: ReceivedMessage, reason: str) -> None:
        """Move a message that nobody can read to the dead letters; if that fails, try again later."""
        shown = received.message.body[: 4 * MAX_LOGGED].decode("utf-8", "replace")[:MAX_LOGGED]
        log.warning("message_dead_lettered", queue=self._broker.name, reason=reason, body=shown)
        try:
            self._broker.dead_letter(received.message)
        except Unavailable as error:
            self._reading.fail(error)
            self._postpone(received)
        else:
            with self._lock:
                self._in_flight.drop(received)

    def _postpone(self, received: ReceivedMessage) -> None:
        """Read a message again after a delay, or requeue it after too many attempts."""
        received.retries.fail()
        if received.retries.failures > LOCAL_RETRIES:
            self._give_up(received)
            return
        pause = received.retries.delay()
        with self._lock:
            if not received.lost:
                self._in_flight.add(received, self._clock() + pause)

    def _lease_ready(self, limit: int) -> list[Lease]:
        with self._lock:
            entries = self._in_flight.leasable(self._clock())[:limit]
            self._in_flight.lease(entries)
        return [BrokerLease(entry, self._finish, self._release) for entry in entries]

    def _finish(self, entry: JobEntry, notification: Notification | None) -> None:
        if notification:
            self.outbox.add(notification, lambda: self._forget(entry))
        else:
            self._forget(entry)

    def _forget(self, entry: JobEntry) -> None:
        with self._lock:
            last = entry in self._in_flight.leased and self._in_flight.finish(entry)
        if last:
            self._acknowledge(entry.received)

    def _release(self, entry: JobEntry, delay: float) -> None:
        """Let the job wait in this process: returning its message would raise the delivery count."""
        received = entry.received
        with self._lock:
            if entry not in self._in_flight.leased:
                return
            self._in_flight.release(entry, self._clock() + delay if delay > 0 else 0.0)
            received.retries.fail()
            give_up = self._closed or received.lost or received.retries.failures > LOCAL_RETRIES
        if give_up:
            self._give_up(received)

    def _give_up(self, received: ReceivedMessage) -> None:
        """Requeue a message for another consumer, as soon as none of its jobs is leased here."""
        received.requeue = True
        with self._lock:
            idle = self._in_flight.drop(received)
        if idle:
            self._acknowledge(received)

    def _keep(self, received: ReceivedMessage) -> None:
        """Read a message that could not be requeued again here, later."""
        received.requeue = False
        received.retries.reset()
        with self._lock:
            if not received.lost:
                self._in_flight.add(received, self._clock() + received.retries.longest)

    def _acknowledge(self, received: ReceivedMessage) -> None:
        """Have the message acknowledged, or requeued, by the background thread."""
        assert self._threads is not None, "nothing is received before the first lease"
        if not (received.lost and received.requeue):
            self._threads[0].add(received)

    def _unacknowledged(self) -> list[ReceivedMessage]:
        """Every message whose visibility timeout must be extended, those with a pending acknowledgement included."""
        pending = self._threads[0].pending() if self._threads else []
        with self._lock:
            return [*{*self._in_flight.messages(), *pending}]

    def _lose(self, received: ReceivedMessage) -> bool:
        """The lease was lost: drop jobs that have not started. Returns whether the message was still in flight."""
        with self._lock:
            received.lost = True
            known = received in self._in_flight.messages()
            self._in_flight.drop(received)
        return known


@dataclass(frozen=True, slots=True)
class BrokerLease:
    """A `Lease` on a job of a received message. The first call that ends it counts; later ones do nothing."""

    entry: JobEntry
    on_finish: Callable[[JobEntry, Notification | None], None]
    on_release: Callable[[JobEntry, float], None]

    @property
    def job(self) -> Job:
        """See `Lease.job`."""
        return self.entry.job

    @property
    def alone(self) -> bool:
        """See `Lease.alone`: never, since `suspect` says it all."""
        return False

    @property
    def suspect(self) -> bool:
        """See `Lease.suspect`."""
        return self.entry.received.suspect

    @property
    def found_at(self) -> float:
        """See `Lease.found_at`; the time of receipt if the broker does not say when the message was sent."""
        return self.entry.received.message.sent_at or self.entry.received.received_at

    def done(self, outcome: Outcome, notification: Notification | None = None) -> None:
        """See `Lease.done`."""
        if outcome is Outcome.REJECTED:
            raise ValueError("a rejected job needs a reason: call reject()")
        self.on_finish(self.entry, notification)

    def release(self, delay: float = 0.0) -> None:
        """See `Lease.release`. This process keeps it for LOCAL_RETRIES further attempts."""
        self.on_release(self.entry, delay)

    def reject(self, rejection: Rejection, notification: Notification | None = None) -> None:
        """See `Lease.reject`. Only the error record in the sink remains of it."""
        self.on_finish(self.entry, notification)
