"""A source that reads a bucket's events from a broker's queue of their own, apart from the queue of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.outage import Outage
from watcher.queues.brokers.base import Broker, Message
from watcher.sources.base import Arrival, DiscoveredVia, SourceCallbacks, Stop
from watcher.sources.event_resolver import EventResolver

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 10
"""Messages in flight: so few that they are processed long before their visibility timeout ends."""
WAIT = 1.0
"""Seconds to wait for messages, because a request to stop does not wake the thread."""
RETRY_DELAY = 5.0
"""Seconds before messages that could not be resolved are tried again."""
_SHOWN = 300
"""Bytes of an invalid message that the log shows."""
MAX_RETRIES = 60
"""How often they are tried before they are requeued for another consumer, which counts as a delivery."""


class MessageSource:
    """The images that messages announce. A message is acknowledged once the consumer has taken its arrivals.

    A message whose object cannot be looked up now is retained and retried, and does not delay others.
    """

    def __init__(self, broker: Broker, resolver: EventResolver, callbacks: SourceCallbacks) -> None:
        self._broker = broker
        self._resolver = resolver
        self._callbacks = callbacks
        self._retained: list[Message] = []
        self._retries = 0
        self._outage = Outage(log, "events_unresolved", "events_resolved")

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set. Raises Unavailable; unacknowledged messages are delivered again."""
        try:
            while not stop.is_set():
                resolved, arrivals = self._resolve(self._receive(stop))
                if arrivals:
                    yield arrivals
                if not stop.is_set():  # otherwise the consumer may not have taken them
                    self._broker.acknowledge(resolved)
        finally:
            self._broker.close()

    def forget(self, key: str) -> None:
        """Does nothing: a new version has a message of its own."""

    def _receive(self, stop: Stop) -> list[Message]:
        """The retained messages, after a pause, and new ones."""
        if not self._retained:
            return self._broker.receive(MAX_IN_FLIGHT, WAIT)
        stop.wait(RETRY_DELAY)
        lost = self._broker.extend(self._retained)
        retained = [message for message in self._retained if message not in lost]
        room = MAX_IN_FLIGHT - len(retained)
        return retained + (self._broker.receive(room, 0.0) if room else [])

    def _resolve(self, messages: Sequence[Message]) -> tuple[list[Message], list[Arrival]]:
        """The resolved messages and the images that they announce; retains the other messages."""
        resolved: list[Message] = []
        arrivals: list[Arrival] = []
        retained: list[Message] = []
        problem = ""
        for message in messages:
            try:
                arrivals += self._arrivals(message)
                resolved.append(message)
            except Unavailable as error:
                retained.append(message)
                self._outage.fail(error)
                problem = error.public
        self._retain(retained, problem)
        return resolved, arrivals

    def _arrivals(self, message: Message) -> list[Arrival]:
        try:
            return [Arrival(ref, DiscoveredVia.EVENT) for ref in self._resolver.resolve(message.body)]
        except NotAnEvent as error:
            body = message.body[:_SHOWN].decode(errors="replace")
            log.warning("message_dead_lettered", queue=self._broker.name, problem=str(error), body=body)
            self._broker.dead_letter(message)
            return []

    def _retain(self, messages: list[Message], problem: str) -> None:
        self._callbacks.on_health(not messages, problem)
        if not messages:
            self._outage.recover()
        self._retries = self._retries + 1 if messages else 0
        if self._retries > MAX_RETRIES:
            self._broker.requeue(messages)
            messages, self._retries = [], 0
        self._retained = messages
