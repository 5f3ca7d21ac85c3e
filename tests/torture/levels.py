"""What processes hold: memory, threads, descriptors; and what is left lying about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

SLACK = {"rss": 64 << 20, "threads": 12, "descriptors": 16}
"""How much more a process may hold than before: allocators keep memory, clients keep connections."""


@dataclass(frozen=True)
class Level:
    """What one process holds."""

    rss: int
    """Resident memory in bytes."""
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Level | None:
        """The level of a process; None if it has ended."""
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                return cls(process.memory_info().rss, process.num_threads(), process.num_fds())
        except psutil.Error:
            return None

    def above(self, other: Level) -> Iterator[str]:
        """What is more than in `other`, by more than the slack."""
        for name, slack in SLACK.items():
            now, before = getattr(self, name), getattr(other, name)
            if now > before + slack:
                yield f"{name}: {now:,} after {before:,}"

    def max(self, other: Level) -> Level:
        """The larger of each."""
        return Level(*(max(getattr(self, name), getattr(other, name)) for name in SLACK))


def complaints(before: Mapping[str, Level], after: Mapping[str, Level]) -> list[str]:
    """What each kind of process holds too much of."""
    return [f"{kind}'s {what}" for kind, level in after.items() if kind in before for what in level.above(before[kind])]
