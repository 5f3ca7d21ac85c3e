"""Acknowledges finished messages in batches, and requeues those that were given up."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import structlog

from watcher.core.backoff import Backoff
from watcher.core.errors import Denied, Unavailable
from watcher.core.outage import Outage
from watcher.queues.background_thread import BackgroundThread
from watcher.queues.brokers.base import Broker
from watcher.queues.in_flight import ReceivedMessage

log = structlog.get_logger(__name__)

BATCH = 10
"""Acknowledgements in one request; SQS takes no more."""
BATCH_SECONDS = 0.2
"""How long the first acknowledgement of a batch waits for others."""
ATTEMPTS = 3
"""How often a broker may refuse one acknowledgement before the message is left to be redelivered."""
RETRY_BACKOFF = (0.4, 10.0)
"""First and longest wait, in seconds, before acknowledgements that failed are sent again."""
MAX_PENDING = 300
"""With more pending acknowledgements than this nothing is leased, since finished work may have to be repeated."""
STALLED_SECONDS = 30.0
"""After this time without a successful acknowledgement nothing is leased."""


class Acknowledger:
    """A thread that acknowledges and requeues messages, and retries until the broker has answered."""

    def __init__(self, broker: Broker, keep: Callable[[ReceivedMessage], None]) -> None:
        """`keep` gets each message that could not be requeued because sending is denied."""
        self._broker, self._keep = broker, keep
        self._outage = Outage(log.bind(queue=broker.name), "acknowledge_failed", "acknowledge_recovered")
        self._changed = threading.Condition()
        self._pending: list[ReceivedMessage] = []
        self._refusals: dict[ReceivedMessage, int] = {}
        self._failing: tuple[float, str] | None = None
        """The monotonic time of the first failed acknowledgement since the last success, and its error."""
        self._deadline: float | None = None
        self._thread = BackgroundThread("acknowledger", self._run)
        self.check = self._thread.check

    def add(self, received: ReceivedMessage) -> None:
        """Queue a finished message to be acknowledged, or to be requeued if it says so. Returns at once."""
        with self._changed:
            self._pending.append(received)
            self._changed.notify_all()

    def pending(self) -> list[ReceivedMessage]:
        """The messages that the broker has not answered for yet."""
        with self._changed:
            return list(self._pending)

    def check_progress(self) -> None:
        """Raise Unavailable if too many acknowledgements are pending, or for too long."""
        with self._changed:
            waiting, (since, problem) = len(self._pending), self._failing or (math.inf, "there are too many")
        if waiting > MAX_PENDING or time.monotonic() - since > STALLED_SECONDS:
            raise Unavailable(f"acknowledgements fail, {waiting} are pending: {problem}")

    def close(self, timeout: float) -> None:
        """Send what is pending, for at most `timeout` seconds; the rest is redelivered."""
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff(*RETRY_BACKOFF)
        while batch := self._next_batch():
            try:
                self._process(batch)
                backoff.reset()
                self._outage.recover()
            except Unavailable as error:
                backoff.fail()
                self._outage.fail(error)
                if not self._pause(backoff.delay()):
                    return

    def _next_batch(self) -> list[ReceivedMessage]:
        """Up to BATCH messages, once there are that many or the first has waited; [] when closed and none is left.

        Finished messages come first: a full queue accepts requeued ones only after some have left it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            self._changed.wait_for(lambda: len(self._pending) >= BATCH or self._closing, BATCH_SECONDS)
            return sorted(self._pending, key=lambda received: received.requeue)[:BATCH]

    @property
    def _closing(self) -> bool:
        return self._deadline is not None

    def _pause(self, seconds: float) -> bool:
        """Wait before a retry, less while closing; False when the time to close is used up."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closing, seconds):
                return True
        time.sleep(min(seconds, BATCH_SECONDS))
        return self._deadline is None or time.monotonic() < self._deadline

    def _process(self, batch: list[ReceivedMessage]) -> None:
        """Acknowledge and requeue. Raises Unavailable; whatever is still pending is retried."""
        self._acknowledge([received for received in batch if not received.requeue])
        self._acknowledge(self._send_again([received for received in batch if received.requeue]))

    def _acknowledge(self, finished: list[ReceivedMessage]) -> None:
        if not finished:
            return
        try:
            failed = self._broker.acknowledge([received.message for received in finished])
        except Unavailable as error:
            self._failing = self._failing or (time.monotonic(), str(error))
            raise
        self._failing = None
        refused = [message.handle for message in failed]
        self._remove([one for one in finished if one.message.handle not in refused or not self._may_retry(one)])

    def _remove(self, answered: list[ReceivedMessage]) -> None:
        with self._changed:
            self._pending = [received for received in self._pending if received not in answered]
        for received in answered:
            self._refusals.pop(received, None)

    def _may_retry(self, received: ReceivedMessage) -> bool:
        self._refusals[received] = self._refusals.get(received, 0) + 1
        return self._refusals[received] < ATTEMPTS

    def _send_again(self, requeued: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Send a copy of each message, and return those whose original can now be acknowledged.

        To return the original would raise its delivery count, and so make a suspect of an image that did no harm.
        """
        if self._closing:
            self._return([received for received in requeued if received.suspect])
            requeued = [received for received in requeued if not received.suspect]
        if not requeued:
            return []
        try:
            self._broker.send([received.message.body for received in requeued])
        except Denied as error:
            self._retain(requeued, error)
            return []
        for received in requeued:
            received.requeue = False
        return requeued

    def _retain(self, requeued: list[ReceivedMessage], error: Denied) -> None:
        """Hold messages until this process ends, because it may not send copies of them back to the queue."""
        if self._closing:
            self._return(requeued)
            return
        log.warning("requeue_failed", queue=self._broker.name, messages=len(requeued), problem=str(error))
        for received in requeued:  # before they are removed here: the lease extender must find them in one of the two
            self._keep(received)
        self._remove(requeued)

    def _return(self, requeued: list[ReceivedMessage]) -> None:
        if requeued:
            self._broker.requeue([received.message for received in requeued])
            self._remove(requeued)
