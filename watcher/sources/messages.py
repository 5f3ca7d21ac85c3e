"""Arrivals that a bucket announces through a broker's queue of its own, apart from the one that jobs wait in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from watcher.core.errors import NotAnEvent, Unavailable
from watcher.queues.brokers.base import Broker, Message
from watcher.sources.base import Arrival, Hint, SourceNews, Stop
from watcher.sources.notices import Notices

log = structlog.get_logger(__name__)

LIMIT = 10
"""Messages in hand: so few that they are taken long before they are anyone's again."""
WAIT = 1.0
"""Seconds to wait at the broker, since nothing wakes the thread when it is to stop."""
PAUSE = 5.0
"""Seconds before messages are read again that could not be read."""
TRIES = 60
"""So often they are; then somebody else is to try, which the broker counts as a delivery."""


class MessageSource:
    """The images that messages announce. A message is acknowledged when whoever takes its arrivals has come back.

    What the store cannot be asked about now is kept, and holds up nothing else.
    """

    def __init__(self, broker: Broker, notices: Notices, news: SourceNews) -> None:
        self._broker = broker
        self._notices = notices
        self._news = news
        self._kept: list[Message] = []
        self._tries = 0

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set. Raises Unavailable: what was not acknowledged comes again."""
        try:
            while not stop.is_set():
                read, arrivals = self._read(self._receive(stop))
                if arrivals:
                    yield arrivals
                if not stop.is_set():  # else nobody has said that they were taken
                    self._broker.acknowledge(read)
        finally:
            self._broker.close()

    def _receive(self, stop: Stop) -> list[Message]:
        """What was kept, after a pause, and what is new."""
        if not self._kept:
            return self._broker.receive(LIMIT, WAIT)
        stop.wait(PAUSE)
        lost = self._broker.extend(self._kept)
        kept = [message for message in self._kept if message not in lost]
        room = LIMIT - len(kept)
        return kept + (self._broker.receive(room, 0.0) if room else [])

    def _read(self, messages: Sequence[Message]) -> tuple[list[Message], list[Arrival]]:
        """Those that could be read, and what they announce; the others are kept."""
        read, arrivals, kept, problem = [], [], [], ""
        for message in messages:
            try:
                arrivals += self._arrivals(message)
                read.append(message)
            except Unavailable as error:
                kept.append(message)
                if not problem:
                    log.warning("trouble", stage="events", reason=type(error).__name__, problem=str(error))
                problem = error.public
        self._keep(kept, problem)
        return read, arrivals

    def _arrivals(self, message: Message) -> list[Arrival]:
        try:
            return [Arrival(ref, Hint.EVENT) for ref in self._notices.refs(message.body)]
        except NotAnEvent as error:
            log.warning("message_not_understood", queue=self._broker.name, problem=str(error))
            self._broker.set_aside(message)
            return []

    def _keep(self, messages: list[Message], problem: str) -> None:
        self._news.healthy(not messages, problem)
        self._tries = self._tries + 1 if messages else 0
        if self._tries > TRIES:
            self._broker.give_back(messages)
            messages, self._tries = [], 0
        self._kept = messages
