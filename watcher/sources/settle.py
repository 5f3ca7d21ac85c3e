"""Waits until files stop changing: of a file that was only created or modified, nothing else shows that it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Wait:
    version: str
    since: float


class SettleTracker:
    """Files that wait until no event came and their version did not change for `settle` seconds.

    A wait that restarts moves to the end of the dict, so the first entry is always the next to be due.
    """

    def __init__(self, settle: float, clock: Callable[[], float]) -> None:
        self._settle = settle
        self._clock = clock
        self._waiting: dict[str, _Wait] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def restart(self, key: str, version: str) -> None:
        """Start the file's wait, or start it again: something happened to it, and this is its version now."""
        self._waiting.pop(key, None)
        self._waiting[key] = _Wait(version, self._clock())

    def forget(self, key: str) -> None:
        """End the file's wait, if there is one."""
        self._waiting.pop(key, None)

    def due(self) -> list[str]:
        """The files whose wait is over; `has_settled` says whether they changed meanwhile."""
        limit = self._clock() - self._settle
        due = []
        for key, wait in self._waiting.items():
            if wait.since > limit:
                break
            due.append(key)
        return due

    def has_settled(self, key: str, version: str) -> bool:
        """Whether a waiting file still has the version it had at the start. Ends its wait, or else restarts it."""
        if self._waiting[key].version == version:
            self.forget(key)
            return True
        self.restart(key, version)
        return False

    def deadline(self) -> float | None:
        """When the next file is due, by the clock; None if none waits."""
        first = next(iter(self._waiting.values()), None)
        return first.since + self._settle if first else None
