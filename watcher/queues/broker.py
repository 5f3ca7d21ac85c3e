"""A queue that stands on a message broker: many machines share it, and each holds what it works on.

A message announces images: it is an event of the bucket, or what `put` has sent. It is acknowledged when each of its
jobs has ended; until then a heartbeat keeps it ours. A broker tells how often it has handed a message out, which is
once more for every process that died with it, and for every delivery that was lost on its way: from the second time on
its images are suspects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from watcher.core.backoff import backoff
from watcher.core.counts import Counts
from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.jobs import Job, Lease
from watcher.queues.background import Acknowledger, Heartbeat
from watcher.queues.base import QueueStats
from watcher.queues.broker_lease import BrokerLease
from watcher.queues.brokers.base import Broker, Depth, Message
from watcher.queues.in_flight import Entry, Hand, Held

log = structlog.get_logger(__name__)

LOCAL_RETRIES = 10
"""So often a job may be released, or a message prove unreadable for now, before somebody else is to try."""
DEPTH_SECONDS = 1.0
UNKNOWN = frozenset({"suspects", "pending_bytes", "oldest_pending", "ended", "reasons"})
"""What a broker does not report of its queue; see `QueueStats.unknown`."""
FLUSH_SECONDS = 5.0
"""So long closing may take to tell the broker what has ended."""
BACKOFF, MOST_BACKOFF = 0.5, 30.0
SHOWN = 300
"""Characters of a message that is not understood."""


class BrokerQueue:
    """A `Queue` on `broker`, which it owns. For any number of threads of one worker.

    `jobs_of` says which jobs a message announces; it may raise NotAnEvent, and counts those itself, or Unavailable.
    `body_of` is its inverse. `lease` waits up to `patience` seconds where there is nothing to do. Threads are started
    with the first lease: a queue that is only put into and looked at has none.
    """

    def __init__(
        self,
        broker: Broker,
        jobs_of: Callable[[bytes], Sequence[Job]],
        body_of: Callable[[Job], bytes],
        *,
        patience: float = 2.0,
        clock: Callable[[], float] = time.time,
        counts: Counts,
    ) -> None:
        self._broker, self._jobs_of, self._body_of = broker, jobs_of, body_of
        self._patience, self._clock, self._counts = patience, clock, counts
        self._lock = threading.Lock()
        self._hand = Hand()
        self._closed = False
        self._depth: tuple[float, Depth] | None = None
        self._background: tuple[Acknowledger, Heartbeat] | None = None

    def put(self, jobs: Sequence[Job]) -> int:
        """See `Queue.put`. A broker does not know what it knows: all of them are added."""
        bodies = {job.id: self._body_of(job) for job in jobs}
        if bodies:
            self._broker.send(list(bodies.values()))
        return len(bodies)

    def lease(self, owner: str, limit: int, *, alone: bool) -> list[Lease]:
        """See `Queue.lease`. Raises RuntimeError when what goes on behind the queue has died of a fault."""
        self._check().check_heard()
        if limit < 1:
            return []
        self._read()
        ready, room, wait = self._look(limit)
        if room > 0:
            try:
                self._add(self._broker.receive(room, 0.0 if ready else wait))
            except Unavailable:
                if not ready:
                    raise
            self._read()
        return self._hand_out(limit)

    def stats(self) -> QueueStats:
        """See `Queue.stats`. Nothing is known of ended jobs; the suspects are those that this process holds."""
        now = time.monotonic()
        if self._depth is None or now - self._depth[0] > DEPTH_SECONDS:
            self._depth = now, self._broker.depth()
        depth = self._depth[1]
        with self._lock:
            suspects = self._hand.suspects
        unknown = UNKNOWN if depth.in_flight_everywhere else UNKNOWN | {"in_flight"}
        return QueueStats(depth.pending, depth.in_flight, suspects, unknown=unknown)

    def suspects(self) -> int:
        """See `Queue.suspects`: none waits for empty hands."""
        return 0

    def close(self) -> None:
        """Give back what has not been started, tell the broker what has ended, and leave it. Never raises."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            unstarted = [held for held in self._hand.messages() if self._hand.drop(held)]
        if self._background:
            acknowledger, heartbeat = self._background
            for held in unstarted:
                held.unfinished = True
                acknowledger.add(held)
            acknowledger.close(FLUSH_SECONDS)
            heartbeat.close()
        self._broker.close()

    def _check(self) -> Acknowledger:
        """Whether all goes on behind the queue. It does from the first time on."""
        if self._closed:
            raise Unavailable(f"the queue {self._broker.name} is closed")
        with self._lock:
            if self._background is None:
                acknowledger = Acknowledger(self._broker, self._keep)
                self._background = acknowledger, Heartbeat(self._broker, self._in_hand, self._lose, self._counts)
        for thread in self._background:
            thread.check()
        return self._background[0]

    def _look(self, limit: int) -> tuple[bool, int, float]:
        """Whether there is something to hand out; how much more may be received; and how long to wait for it."""
        now = self._clock()
        with self._lock:
            ready = self._hand.next(now)
            due = self._hand.next_due()
            room = limit - self._hand.size
        return bool(ready), room, self._patience if due is None else max(0.0, min(self._patience, due - now))

    def _add(self, messages: Sequence[Message]) -> None:
        now = self._clock()
        with self._lock:
            for message in messages:
                self._hand.add(Held(message, now))

    def _read(self) -> None:
        """Find out what the messages announce that are due."""
        with self._lock:
            due = self._hand.to_read(self._clock())
        for held in due:
            try:
                self._read_one(held)
            except NotAnEvent as error:
                self._set_aside(held, str(error))
            except Unavailable as error:
                log.warning("message_kept", queue=self._broker.name, problem=str(error))
                self._postpone(held)

    def _read_one(self, held: Held) -> None:
        jobs = self._jobs_of(held.message.body)
        with self._lock:
            known = self._hand.read(held, jobs)
        if known and not jobs:
            self._finish(held)

    def _set_aside(self, held: Held, reason: str) -> None:
        """It is of no use to anyone; where it cannot be set aside now, it is later."""
        shown = held.message.body[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN]
        log.warning("message_set_aside", queue=self._broker.name, reason=reason, body=shown)
        try:
            self._broker.set_aside(held.message)
        except Unavailable as error:
            log.warning("message_kept", queue=self._broker.name, problem=str(error))
            self._postpone(held)
        else:
            with self._lock:
                self._hand.drop(held)

    def _postpone(self, held: Held) -> None:
        """To be read again a little later, or by somebody else."""
        held.tries += 1
        if held.tries > LOCAL_RETRIES:
            self._give_up(held)
            return
        pause = backoff(held.tries, BACKOFF, MOST_BACKOFF)
        with self._lock:
            if not held.lost:
                self._hand.add(held, self._clock() + pause)

    def _hand_out(self, limit: int) -> list[Lease]:
        with self._lock:
            entries = self._hand.next(self._clock())[:limit]
            self._hand.lease(entries)
        return [BrokerLease(entry, self._end, self._release) for entry in entries]

    def _end(self, entry: Entry) -> None:
        with self._lock:
            ended = entry in self._hand.leased and self._hand.end(entry)
        if ended:
            self._finish(entry.held)

    def _release(self, entry: Entry, delay: float) -> None:
        """It waits here: to hand it out anew would go against the message."""
        with self._lock:
            if entry not in self._hand.leased:
                return
            self._hand.put_back(entry, self._clock() + delay if delay > 0 else 0.0)
            entry.held.tries += 1
            enough = self._closed or entry.held.tries > LOCAL_RETRIES
        if enough or entry.held.lost:
            self._give_up(entry.held)

    def _give_up(self, held: Held) -> None:
        """Somebody else is to have it, as soon as none of its jobs is in work here."""
        held.unfinished = True
        with self._lock:
            gone = self._hand.drop(held)
        if gone:
            self._finish(held)

    def _keep(self, held: Held) -> None:
        """It cannot be anybody else's: it is read here once more, later."""
        held.unfinished, held.tries = False, 0
        with self._lock:
            if not held.lost:
                self._hand.add(held, self._clock() + MOST_BACKOFF)

    def _finish(self, held: Held) -> None:
        """It has left the hand: the broker is told, in the background."""
        assert self._background is not None, "nothing is in hand before the first lease"
        if not (held.lost and held.unfinished):
            self._background[0].add(held)

    def _in_hand(self) -> list[Held]:
        """All that the heartbeat is to keep: what waits for its acknowledgement, too."""
        pending = self._background[0].pending() if self._background else []
        with self._lock:
            return [*{*self._hand.messages(), *pending}]

    def _lose(self, held: Held) -> bool:
        """It is not ours any more: what is not started is not to be. Whether it was in hand until now."""
        with self._lock:
            held.lost = True
            known = held in self._hand.messages()
            self._hand.drop(held)
        return known
