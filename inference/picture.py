"""The values that go into the engine and come out of it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Trigger = Literal["full", "idle", "timeout", "closed"]
"""Why a batch was closed: it had reached a limit; no further picture was announced; an announced one did not arrive
within `max_wait`; the engine was being closed."""


VISIBLE = 13
"""The least alpha, 5 %, that counts as a part of the object: what is fainter is not seen on white."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded photo: H x W x 3 uint8, sRGB, C-contiguous, upright."""

    pixels: NDArray[np.uint8] = field(repr=False)
    rgba: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The same with its own straight alpha, H x W x 4 uint8; None if the file has no transparent pixel."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top


@dataclass(frozen=True)
class BatchStats:
    """The micro-batch that a cut-out was made in."""

    size: int
    """Pictures in the batch."""
    slots: int
    """Pictures for which the device computed: `size`, and padding up to a shape that it has warmed up."""
    trigger: Trigger
    device: str
    wait_seconds: float
    """How long the batch's first picture waited in the queue."""
    infer_seconds: float
    """From the start of the batch until this cut-out was finished; for `on_batch`, until all were."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """A photo without its background: H x W x 4 uint8, sRGB with straight (not premultiplied) alpha.

    Where alpha is 0, the photo's colour is still there; `codec.encode` omits it.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    stats: BatchStats | None = None

    def multiplied(self, rgba: NDArray[np.uint8]) -> "Cutout":
        """Multiply alpha with that of the photo itself, H x W x 4 uint8, sRGB, straight alpha.

        Semi-transparent pixels of the photo get its own colour, because the model saw them blended with white.
        """
        pixels, own = self.pixels.copy(), rgba[..., 3]
        blended = own < 255
        pixels[blended, :3] = rgba[blended, :3]
        product = pixels[..., 3].astype(np.uint16) * own
        pixels[..., 3] = (product + 127) // 255
        return Cutout(pixels, self.stats)

    @cached_property
    def coverage(self) -> float:
        """Mean alpha from 0 (nothing is left) to 1 (nothing was removed); computed on first access."""
        words = np.ascontiguousarray(self.pixels).view("<u4")  # four times as fast as every fourth byte
        rows = (words >> 24).sum(axis=(1, 2), dtype=np.uint32)
        return int(rows.sum(dtype=np.uint64)) / (255 * words.size)

    @cached_property
    def box(self) -> Box | None:
        """The object's bounding box: every pixel with an alpha of at least VISIBLE; None if there is none."""
        words = np.ascontiguousarray(self.pixels).view("<u4")[..., 0]  # alpha is the highest byte of a word
        rows = np.flatnonzero(words.max(axis=1) >= VISIBLE << 24)
        if not rows.size:
            return None
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(words[top:bottom].max(axis=0) >= VISIBLE << 24)
        return Box(int(columns[0]), top, int(columns[-1]) + 1, bottom)
