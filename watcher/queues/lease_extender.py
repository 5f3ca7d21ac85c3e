"""Extends the visibility timeout of received messages while their jobs run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.core.outage import Outage
from watcher.queues.background_thread import BackgroundThread
from watcher.queues.brokers.base import Broker
from watcher.queues.in_flight import ReceivedMessage

log = structlog.get_logger(__name__)

CHECK_SECONDS = 5.0
"""Seconds between two checks whether messages are still ours, at a broker without a visibility timeout."""


class LeaseExtender:
    """A thread that extends each message after a third of its visibility timeout, so that one attempt may fail."""

    def __init__(
        self,
        broker: Broker,
        in_flight: Callable[[], Sequence[ReceivedMessage]],
        on_lost: Callable[[ReceivedMessage], bool],
        counts: Counts,
    ) -> None:
        """`on_lost` is called with each message that is no longer ours, and returns whether it was in flight."""
        self._broker, self._in_flight, self._on_lost, self._counts = broker, in_flight, on_lost, counts
        self.interval = CHECK_SECONDS if broker.visibility is None else broker.visibility / 3
        """Seconds between two extensions."""
        self._outage = Outage(log.bind(queue=broker.name), "lease_extension_failed", "lease_extension_recovered")
        self._stop = threading.Event()
        self._thread = BackgroundThread("lease-extender", self._run)
        self.check = self._thread.check

    def close(self) -> None:
        """Stop extending: the visibility timeout of what is in flight runs out."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        pause = self.interval
        while not self._stop.wait(pause):
            pause = self._extend()

    def _extend(self) -> float:
        """Extend everything in flight; returns the seconds until the next attempt."""
        ours = [received for received in self._in_flight() if not received.lost]
        if not ours:
            return self.interval
        try:
            lost = self._broker.extend([received.message for received in ours])
        except Unavailable as error:
            self._counts.add("lease_extensions", "failed", len(ours))
            self._outage.fail(error)
            return self.interval / 5
        self._outage.recover()
        handles = [message.handle for message in lost]
        gone = [received for received in ours if received.message.handle in handles and self._on_lost(received)]
        self._counts.add("lease_extensions", "ok", len(ours) - len(handles))
        self._counts.add("lease_extensions", "lost", len(gone))
        if gone:
            log.warning("messages_lost", queue=self._broker.name, messages=len(gone))
        return self.interval
