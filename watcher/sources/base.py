"""What a source does: it says which images have arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from watcher.core.jobs import ImageRef


class Hint(StrEnum):
    """How an arrival was noticed."""

    EVENT = "event"
    """The file system or a broker said so."""
    SETTLED = "settled"
    """Nothing said that it is whole, but it held still."""
    SCAN = "scan"
    """A listing found it; after start-up, this is what events have missed."""
    RECONCILE = "reconcile"
    """A listing found it, and the sink has nothing to show for it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole image has appeared (or a new version of one)."""

    ref: ImageRef
    hint: Hint


class Stop(Protocol):
    """Anything that can be asked whether to stop and waited for: a `threading.Event` is one."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


@dataclass(frozen=True)
class SourceNews:
    """What a source tells its owner besides arrivals. All callbacks are cheap and may come from any thread."""

    healthy: Callable[[bool, str], None] = field(default=lambda ok, why: None)
    """(False, why) when arrivals can no longer be noticed, (True, "") when they can again."""
    overflowed: Callable[[], None] = field(default=lambda: None)
    """Events were lost; a rescan follows at once."""
    scanned: Callable[[int, float], None] = field(default=lambda found, seconds: None)
    """A listing has ended: how many arrivals it found that nothing had announced, and how long it took."""


class Source(Protocol):
    """Arrivals, as they appear."""

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set: first what is there already, then what appears.

        Every version of every image is yielded at least once; whoever receives them must be idempotent. Yields an empty
        list when a whole listing has been handed out (so that `once` knows when it has seen everything).
        """
        ...
