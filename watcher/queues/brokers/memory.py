"""A broker in the memory of one process, for tests. `watcher.testing` ships it with the other fakes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watcher.core.errors import WatcherError
from watcher.queues.brokers.base import Depth, Message


@dataclass(eq=False)
class _Stored:
    """A message that is not acknowledged."""

    body: bytes
    sent_at: float
    deliveries: int = 0
    handle: int = 0
    hidden_until: float = 0.0


class MemoryBroker:
    """A `Broker` in a list, which counts deliveries and uses the given clock.

    `failing["send"] = Unavailable("no network")` makes a method fail until the entry is removed.
    """

    def __init__(self, visibility: float | None = 30.0, *, clock: Callable[[], float] = time.time) -> None:
        self._visibility, self._clock = visibility, clock
        self._changed = threading.Condition()
        self._stored: list[_Stored] = []
        self._handles = 0
        self.failing: dict[str, WatcherError] = {}
        self.extended = 0
        """How many visibility timeouts were restarted."""
        self.set_aside_bodies: list[bytes] = []
        """The dead letters."""
        self.closed = False

    @property
    def name(self) -> str:
        """Always the same."""
        return "memory://broker"

    @property
    def visibility(self) -> float | None:
        """What the constructor was given."""
        return self._visibility

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all messages that are not acknowledged. Never fails."""
        with self._changed:
            return [stored.body for stored in self._stored]

    def redeliver(self) -> None:
        """Make everything in flight available again, as a crash of the consumer does. Never fails."""
        with self._changed:
            for stored in self._stored:
                stored.hidden_until, stored.handle = 0.0, 0
            self._changed.notify_all()

    def receive(self, limit: int, wait: float) -> list[Message]:
        """See `Broker.receive`. It waits in real time."""
        self._fail("receive")
        with self._changed:
            self._changed.wait_for(self._visible, wait)
            return [self._hand_out(stored) for stored in self._visible()[:limit]]

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.acknowledge`. Refuses messages that are no longer ours."""
        self._fail("acknowledge")
        with self._changed:
            ours = {message.handle: self._ours(message) for message in messages}
            self._stored = [stored for stored in self._stored if stored not in ours.values()]
        return [message for message in messages if not ours[message.handle]]

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """See `Broker.extend`."""
        self._fail("extend")
        lost = [message for message in messages if not self._hide(message, self._until())]
        self.extended += len(messages) - len(lost)
        return lost

    def requeue(self, messages: Sequence[Message]) -> None:
        """See `Broker.requeue`."""
        self._fail("requeue")
        for message in messages:
            self._hide(message, 0.0)

    def dead_letter(self, message: Message) -> None:
        """See `Broker.dead_letter`."""
        self._fail("dead_letter")
        if not self.acknowledge([message]):
            self.set_aside_bodies.append(message.body)

    def send(self, bodies: Sequence[bytes]) -> None:
        """See `Broker.send`."""
        self._fail("send")
        with self._changed:
            self._stored += (_Stored(body, self._clock()) for body in bodies)
            self._changed.notify_all()

    def depth(self) -> Depth:
        """See `Broker.depth`. Exact."""
        self._fail("depth")
        with self._changed:
            pending = len(self._visible())
            return Depth(pending, len(self._stored) - pending)

    def close(self) -> None:
        """See `Broker.close`."""
        self.closed = True
        self.redeliver()

    def _visible(self) -> list[_Stored]:
        return [stored for stored in self._stored if stored.hidden_until <= self._clock()]

    def _until(self) -> float:
        return float("inf") if self._visibility is None else self._clock() + self._visibility

    def _hand_out(self, stored: _Stored) -> Message:
        self._handles += 1
        stored.handle, stored.hidden_until = self._handles, self._until()
        stored.deliveries += 1
        return Message(stored.body, stored.handle, stored.deliveries, stored.sent_at)

    def _ours(self, message: Message) -> _Stored | None:
        found = (stored for stored in self._stored if stored.handle == message.handle)
        return next((stored for stored in found if stored.hidden_until > self._clock()), None)

    def _hide(self, message: Message, until: float) -> bool:
        with self._changed:
            if stored := self._ours(message):
                stored.hidden_until = until
                self._changed.notify_all()
            return stored is not None

    def _fail(self, method: str) -> None:
        if method in self.failing:
            raise self.failing[method]
