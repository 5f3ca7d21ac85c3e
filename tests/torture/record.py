"""What the producer has put: one line of JSON before each change of the source, and one after it."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What is put at a key."""

    HEALTHY = "healthy"
    SLOW = "slow"
    """Healthy, but copied so slowly that the settle time was over before it was whole: it may be rejected meanwhile."""
    GARBAGE = "garbage"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    KILLER = "killer"
    """It kills the worker that decodes it."""
    DELETED = "deleted"
    """Nothing: what was there is deleted."""

    @property
    def reason(self) -> str:
        """The only true reason for an error record; empty where there must be none."""
        return REASONS.get(self, "")


REASONS: Mapping[Kind, str] = {
    Kind.GARBAGE: "not_a_picture",
    Kind.EMPTY: "not_a_picture",
    Kind.TRUNCATED: "truncated",
    Kind.TOO_LARGE: "too_large",
    Kind.KILLER: "kills_worker",
}
POISONED = tuple(REASONS)


@dataclass(frozen=True)
class Change:
    """One change of the source."""

    key: str
    number: int
    """Of this version, which gives a healthy picture its colour. No two changes have the same."""
    kind: Kind
    acknowledged: bool
    """Whether it has happened for certain; before that, it may have."""
    time: float


class Record:
    """The producer's record: a file that is only added to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read: list[Change] = []
        self._read_to = 0
        path.touch()

    def begin(self, key: str, number: int, kind: Kind) -> None:
        """The change may be seen from now on."""
        self._add(Change(key, number, kind, False, time.time()))

    def acknowledge(self, key: str, number: int, kind: Kind) -> None:
        """The change has happened."""
        self._add(Change(key, number, kind, True, time.time()))

    def changes(self) -> list[Change]:
        """All lines so far. Lines that were read before are not read again."""
        with self._lock:
            with self.path.open("rb") as file:
                file.seek(self._read_to)
                lines = file.read()
            self._read_to += len(lines)
            for line in lines.splitlines():
                fields = json.loads(line)
                self._read.append(Change(**fields | {"kind": Kind(fields["kind"])}))
            return list(self._read)

    def _add(self, change: Change) -> None:
        line = json.dumps(asdict(change), ensure_ascii=False) + "\n"
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line)


@dataclass(frozen=True)
class History:
    """All versions of one key, the oldest first."""

    changes: tuple[Change, ...]

    @property
    def last(self) -> Change:
        """What is there at the end."""
        return self.changes[-1]

    @property
    def colours(self) -> set[int]:
        """The numbers of the pictures that were there at some time."""
        return {change.number for change in self.changes if change.kind in (Kind.HEALTHY, Kind.SLOW)}

    @property
    def reasons(self) -> set[str]:
        """The true reasons for error records at some time."""
        slow = {"truncated", "not_a_picture"} if any(change.kind is Kind.SLOW for change in self.changes) else set()
        return {change.kind.reason for change in self.changes if change.kind.reason} | slow


def histories(changes: Iterable[Change]) -> dict[str, History]:
    """The history of each key; changes that were begun and never acknowledged count as well."""
    found: dict[str, dict[int, Change]] = defaultdict(dict)
    for change in changes:
        found[change.key][change.number] = change
    return {key: History(tuple(versions[number] for number in sorted(versions))) for key, versions in found.items()}
