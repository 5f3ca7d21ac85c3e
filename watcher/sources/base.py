"""The interface of a source, which reports the images that have arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from watcher.core.jobs import ImageRef


class DiscoveredVia(StrEnum):
    """How an arrival was discovered."""

    EVENT = "event"
    """The file system or a broker announced it."""
    SETTLED = "settled"
    """Nothing announced that the file is complete, but it has stopped changing."""
    SCAN = "scan"
    """A listing of the source found it; after start-up, these are the images that no event announced."""
    RECONCILE = "reconcile"
    """A comparison of source and sink found that its output is missing or outdated."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complete image, or a new version of one."""

    ref: ImageRef
    discovered_via: DiscoveredVia


class Stop(Protocol):
    """A request to stop that can be read and waited for: `threading.Event` implements it."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


@dataclass(frozen=True)
class SourceCallbacks:
    """How a source reports its own state to its owner. Callbacks return at once and may be called from any thread."""

    on_health: Callable[[bool, str], None] = field(default=lambda ok, why: None)
    """(False, why) when the source stops working, (True, "") when it works again; `why` may be published."""
    on_overflow: Callable[[], None] = field(default=lambda: None)
    """Events were lost; a listing follows at once."""
    on_listing: Callable[[int, float], None] = field(default=lambda found, seconds: None)
    """A listing is finished: how many arrivals it found that no event had announced, and how long it took."""
    on_unreadable_folders: Callable[[int], None] = field(default=lambda count: None)
    """A listing is finished: how many folders could not be read."""


class Source(Protocol):
    """A stream of arrivals."""

    def arrivals(self, stop: Stop) -> Iterator[list[Arrival]]:
        """Batches of arrivals until `stop` is set: first the images that exist, then each that appears.

        Every version of every image is yielded at least once, so the consumer must be idempotent. An empty list is
        yielded once, when a complete listing was yielded: `once` then knows that it has seen everything.
        """
        ...

    def forget(self, key: str) -> None:
        """A worker found the image missing or changed: the next version at this key is new. Safe from any thread."""
        ...
