"""Page-locked main memory, which a card reads and writes by itself: one piece, taken once, lent in parts."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST = 512 << 20
"""Bytes: the cut-outs of the 100 megapixels that a worker has in hand by default, and a batch on its way up."""
LEAST = 32 << 20
"""Less is not worth it."""
STEP = 4096
"""Parts begin and end at multiples of this."""
Range = tuple[int, int]
"""Where a part begins, and its length."""


class Arena:
    """Lends parts of a flat uint8 tensor, from any thread. It never grows: that is what bounds the memory."""

    def __init__(self, memory: Tensor) -> None:
        self._memory = memory
        self._free: list[Range] = [(0, len(memory) // STEP * STEP)]
        self._returned: deque[Range] = deque()
        self._lock = threading.Lock()

    def lend(self, shape: Sequence[int]) -> NDArray[np.uint8] | None:
        """An array whose memory comes back when it and all that looks at it are gone; None where there is no room."""
        length = -(-math.prod(shape) // STEP) * STEP
        with self._lock:
            self._free = joined([*self._free, *self._take_back()])
            found = next((index for index, (_, room) in enumerate(self._free) if room >= length), None)
            if found is None:
                return None
            start, room = self._free.pop(found)
            if room > length:
                self._free.insert(found, (start + length, room - length))
        return np.asarray(_Loan(self._memory, (start, length), tuple(shape), self._returned))

    def _take_back(self) -> Iterable[Range]:
        while self._returned:
            yield self._returned.popleft()


class _Loan:
    """What owns a part that is lent: arrays keep it alive, however they are sliced and viewed.

    An array cannot be the owner itself, since numpy's views of views refer to the first one's base alone. What Python
    clears away, it clears away at any moment, also while this thread holds the lock: so the part is only laid down.
    """

    def __init__(self, memory: Tensor, part: Range, shape: tuple[int, ...], returned: deque[Range]) -> None:
        self._memory, self._part, self._returned = memory, part, returned
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (memory.data_ptr() + part[0], False),
        }

    def __del__(self) -> None:
        self._returned.append(self._part)


def joined(parts: Iterable[Range]) -> list[Range]:
    """In order, with neighbours as one."""
    result: list[Range] = []
    for start, length in sorted(parts):
        if result and sum(result[-1]) == start:
            result[-1] = (result[-1][0], result[-1][1] + length)
        else:
            result.append((start, length))
    return result


def pinned_arena() -> Arena | None:
    """Of MOST bytes, or of what the system allows; None where it allows nothing. Belongs to the current device."""
    size = MOST
    while size >= LEAST:
        try:
            return Arena(torch.empty(size, dtype=torch.uint8, pin_memory=True))
        except RuntimeError:  # each build of torch says it in other words
            size //= 2
    return None
