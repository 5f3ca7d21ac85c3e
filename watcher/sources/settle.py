"""Which files hold still: nothing but time says of a file that is only created or modified that it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Quiet:
    version: str
    since: float


class SettleTracker:
    """Files that wait until no event has come, and their version has not changed, over `settle` seconds.

    Restarting a wait moves a file to the end of the dict, so its front is always the one that is due first.
    """

    def __init__(self, settle: float, clock: Callable[[], float]) -> None:
        self._settle = settle
        self._clock = clock
        self._waiting: dict[str, _Quiet] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def saw(self, key: str, version: str) -> None:
        """Something happened to a file, which has this version now: its wait starts anew."""
        self._waiting.pop(key, None)
        self._waiting[key] = _Quiet(version, self._clock())

    def forget(self, key: str) -> None:
        """A file needs no waiting for, or is not there any more."""
        self._waiting.pop(key, None)

    def due(self) -> list[str]:
        """The files that have been quiet long enough and are to be looked at: `held_still` says what they showed."""
        limit = self._clock() - self._settle
        due = []
        for key, quiet in self._waiting.items():
            if quiet.since > limit:
                break
            due.append(key)
        return due

    def held_still(self, key: str, version: str) -> bool:
        """Whether the version is what it was when the wait started, which ends it; if not, it starts anew."""
        if self._waiting[key].version == version:
            self.forget(key)
            return True
        self.saw(key, version)
        return False

    def deadline(self) -> float | None:
        """When the next file is due, by the clock."""
        first = next(iter(self._waiting.values()), None)
        return first.since + self._settle if first else None
