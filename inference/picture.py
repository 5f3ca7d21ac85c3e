"""What goes into the engine and what comes out of it: frozen values."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Trigger = Literal["full", "idle", "timeout", "closed"]


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded photo: H x W x 3 uint8, sRGB, C-contiguous, upright."""

    pixels: NDArray[np.uint8] = field(repr=False)

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class BatchStats:
    """The micro-batch that a cut-out was made in.

    `size` pictures ran in `slots` places of the batch (the rest was padding); `trigger` is why the batch was closed;
    both times are in seconds.
    """

    size: int
    slots: int
    trigger: Trigger
    device: str
    wait_seconds: float
    infer_seconds: float


@dataclass(frozen=True, eq=False)
class Cutout:
    """A photo with its background removed: H x W x 4 uint8, sRGB with straight (not premultiplied) alpha.

    Where alpha is 0 the photo's colour is still there; `codec.encode` leaves it out.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    stats: BatchStats | None = None

    @cached_property
    def coverage(self) -> float:
        """Mean alpha, 0 (nothing left) to 1 (nothing removed); computed when first asked for."""
        words = np.ascontiguousarray(self.pixels).view("<u4")  # four times as fast as one byte of four
        rows = (words >> 24).sum(axis=(1, 2), dtype=np.uint32)
        return int(rows.sum(dtype=np.uint64)) / (255 * words.size)
