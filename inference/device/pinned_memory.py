"""Page-locked (pinned) main memory, which a GPU copies from and to by itself: one block, allocated once, in parts."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIXELS = 75_000_000
"""Pixels in flight for which memory is pinned, where the caller does not know them."""
BYTES_PER_PIXEL = 7
"""Three of a picture that waits for its upload, and four of its cut-out, which is encoded from pinned memory."""
MIN_BYTES = 32 << 20
"""A smaller arena is not worth having."""
ALIGNMENT = 4096
"""Parts begin and end at multiples of this many bytes."""
Span = tuple[int, int]
"""Offset and length of a part in bytes."""


class Arena:
    """Allocates parts of a flat uint8 tensor, from any thread. It never grows, which bounds the memory."""

    def __init__(self, memory: Tensor) -> None:
        self._memory = memory
        self._free: list[Span] = [(0, len(memory) // ALIGNMENT * ALIGNMENT)]
        self._returned: deque[Span] = deque()
        self._lock = threading.Lock()

    def allocate(self, shape: Sequence[int]) -> NDArray[np.uint8] | None:
        """Return a uint8 array of this shape, or None if there is no room.

        Its memory is free again when the array and all views of it are garbage.
        """
        length = -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
        with self._lock:
            self._free = coalesce([*self._free, *self._take_returned()])
            first_fit = next((index for index, (_, room) in enumerate(self._free) if room >= length), None)
            if first_fit is None:
                return None
            start, room = self._free.pop(first_fit)
            if room > length:
                self._free.insert(first_fit, (start + length, room - length))
        return np.asarray(_Allocation(self._memory, (start, length), tuple(shape), self._returned))

    def _take_returned(self) -> Iterable[Span]:
        while self._returned:
            yield self._returned.popleft()


class _Allocation:
    """The owner of an allocated part: arrays keep it alive, however they are sliced and viewed.

    An array cannot be the owner itself, since views of views refer only to the first array's base. The garbage
    collector may run at any moment, even while this thread holds the arena's lock, so `__del__` only appends to a
    deque.
    """

    def __init__(self, memory: Tensor, span: Span, shape: tuple[int, ...], returned: deque[Span]) -> None:
        self._memory, self._span, self._returned = memory, span, returned
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (memory.data_ptr() + span[0], False),
        }

    def __del__(self) -> None:
        self._returned.append(self._span)


def coalesce(spans: Iterable[Span]) -> list[Span]:
    """Sort spans and merge adjacent ones."""
    result: list[Span] = []
    for start, length in sorted(spans):
        if result and sum(result[-1]) == start:
            result[-1] = (result[-1][0], result[-1][1] + length)
        else:
            result.append((start, length))
    return result


def allocate_arena(pixels: int = PIXELS) -> Arena | None:
    """Pin what these pixels in flight need, or as much as the system allows, for the current device.

    None if that is less than MIN_BYTES.
    """
    size = max(MIN_BYTES, pixels * BYTES_PER_PIXEL)
    while size >= MIN_BYTES:
        try:
            return Arena(torch.empty(size, dtype=torch.uint8, pin_memory=True))
        except RuntimeError:  # builds of torch differ in the message
            size //= 2
    return None
