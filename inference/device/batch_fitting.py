"""How many pictures fit into a device's memory at a time, from what a few of them have taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FEW = 8
"""Pictures in the larger of the two batches that are measured."""
SHARE = 0.75
"""Of the free memory: allocators waste some, and others may want some."""
RESERVE = 1 << 30
"""Bytes besides, for pictures at their own size and the edge head's windows, which rehearsals do not have."""


@dataclass(frozen=True)
class Memory:
    """What a device says of its memory, in bytes."""

    free: Callable[[], int]
    """That nobody uses."""
    most_during: Callable[[Callable[[], object]], int]
    """The most that some work takes beyond what is taken already. Raises what the work raises."""


def fitting(free: int, one: int, few: int, most: int, count: int = FEW) -> int:
    """The batch, a power of two or `most`, that fits where one picture takes `one` bytes and `count` take `few`.

    At least 1, at most `most`. What a batch takes is taken for a straight line.
    """
    each = max(1, (few - one) // (count - 1))
    fixed = max(0, one - each)
    room = int((int(free * SHARE) - RESERVE - fixed) // each)
    return most if room >= most else 1 << max(0, room.bit_length() - 1) if room > 0 else 1
