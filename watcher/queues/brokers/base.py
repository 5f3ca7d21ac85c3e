"""The interface of a message broker, which delivers each message until it is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message."""

    body: bytes
    handle: Any
    """The broker's identifier of this delivery. Opaque; a redelivery has another one."""
    deliveries: int
    """How often it was delivered, this time included. 2 means "at least twice" at a broker that does not count."""
    sent_at: float
    """The Unix time at which it was sent, 0 if the broker does not say."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds; some brokers only estimate it."""

    pending: int
    """Waiting to be delivered."""
    in_flight: int
    """Delivered and not acknowledged."""
    in_flight_everywhere: bool = field(default=True, compare=False)
    """Whether `in_flight` includes the messages of other connections."""


class Broker(Protocol):
    """One queue of a broker. Every method may raise `Unavailable`, and may be called from any thread.

    Messages are delivered at least once and in no particular order. A message is redelivered if it is neither
    acknowledged nor extended in time, or if the process that holds it dies.
    """

    @property
    def name(self) -> str:
        """The queue's address for log lines and messages, without credentials."""
        ...

    @property
    def visibility(self) -> float | None:
        """The visibility timeout in seconds, None where a delivery is ours until we disconnect."""
        ...

    def receive(self, limit: int, wait: float) -> list[Message]:
        """Receive at most `limit` messages, and wait up to `wait` seconds for the first; [] if none has come."""
        ...

    def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
        """Acknowledge messages, and return those that the broker refused, to be retried or redelivered."""
        ...

    def extend(self, messages: Sequence[Message]) -> list[Message]:
        """Restart the visibility timeout of messages, and return those that were no longer ours."""
        ...

    def requeue(self, messages: Sequence[Message]) -> None:
        """Return messages to the queue, where any consumer may receive them at once."""
        ...

    def dead_letter(self, message: Message) -> None:
        """Move a message to the dead-letter queue, or delete it if there is none."""
        ...

    def send(self, bodies: Sequence[bytes]) -> None:
        """Add messages, which are durable when this returns. If it raises, some of them may have been added."""
        ...

    def depth(self) -> Depth:
        """Count the messages in the queue."""
        ...

    def close(self) -> None:
        """Disconnect. Unacknowledged messages are redelivered, at once or when their visibility timeout ends."""
        ...
