"""What a message broker does: it holds messages and hands each of them out until it is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message."""

    body: bytes
    handle: Any
    """What the broker knows this delivery by. Opaque; each delivery has another one."""
    deliveries: int
    """How often it has been handed out, this time included. 2 also stands for "again", where a broker knows no more."""
    sent_at: float
    """When it was sent, as Unix time; 0 where the broker does not say."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages there are, as far as the broker knows; some only estimate it."""

    pending: int
    """Waiting to be handed out."""
    in_flight: int
    """Handed out and not acknowledged."""
    in_flight_everywhere: bool = field(default=True, compare=False)
    """Whether `in_flight` includes what other connections hold."""


class Broker(Protocol):
    """One queue of a broker. Every method may raise `Unavailable`; all are safe to call from several threads.

    A message is delivered at least once, in no given order. What is neither acknowledged nor extended in time, and
    whatever a dead process held, is delivered again.
    """

    @property
    def name(self) -> str:
        """For people: which queue, where, without any credentials."""
        ...

    @property
    def visibility(self) -> float | None:
        """Seconds for which a delivery is ours unless it is extended; None where it is ours until we disconnect."""
        ...

    def receive(self, limit: int, wait: float) -> list[Message]:
        """At most `limit` messages; waits up to `wait` seconds for the first one, [] if none has come by then."""
        ...

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """Forget them for good. Returns those that the broker could not: to be tried again, or they will come again."""
        ...

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """They are ours for another `visibility` seconds. Returns those that were not ours any more."""
        ...

    def give_back(self, messages: Sequence[Message]) -> None:
        """Anyone may have them, at once."""
        ...

    def set_aside(self, message: Message) -> None:
        """It is of no use to anyone: to the dead letters, where the queue has any, else away."""
        ...

    def send(self, bodies: Sequence[bytes]) -> None:
        """Add messages: they are durable when this returns. If it raises, some of them may have been added."""
        ...

    def depth(self) -> Depth:
        """How much there is."""
        ...

    def close(self) -> None:
        """End the connection; what is in hand is given back by that, at once or when its time is over."""
        ...
