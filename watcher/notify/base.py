"""The interface of a target: where notifications go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from watcher.core.notification import Notification
from watcher.queues.outbox import Waiting


class Reply(Enum):
    """How a target answers."""

    ACCEPTED = auto()
    REFUSED = auto()
    """It will not take this notification, however often it is sent."""
    UNAVAILABLE = auto()
    """It cannot take any now, or does not let us in: the same notification may be accepted later."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A target's answer to one notification."""

    reply: Reply
    problem: str = ""
    """What it said, for the log."""
    reason: str = "unavailable"
    """The kind of the problem, as `WatcherError.reason`."""
    retry_after: float = 0.0
    """Seconds for which the target asks to be left alone."""


ACCEPTED = Answer(Reply.ACCEPTED)


class Target(Protocol):
    """A receiver of notifications. Every method may be called from any thread."""

    @property
    def name(self) -> str:
        """Its address for log lines and messages, without anything that may be secret."""
        ...

    @property
    def batch(self) -> int:
        """How many notifications `send` handles together at best."""
        ...

    def send(self, waiting: Sequence[Waiting]) -> list[Answer]:
        """Send notifications of different keys, and return the answer to each.

        What is accepted is the receiver's to keep. Raises Unavailable where that holds for all of them: some may have
        been accepted nevertheless.
        """
        ...

    def check(self, test: Notification) -> str:
        """Find out whether notifications would be accepted, and describe the target in a few words.

        Sends `test` only where there is no other way. Raises Unavailable or ConfigurationError, with a remedy.
        """
        ...

    def close(self) -> None:
        """Disconnect."""
        ...
