"""The values that go into the engine and come out of it."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.compiled import pixel_kernels
from inference.review.doubts import Doubt, Review

Trigger = Literal["full", "idle", "timeout", "closed"]
"""Why a batch was closed: it had reached a limit; no further picture was announced; an announced one did not arrive
within `max_wait`; the engine was being closed."""


_STRIPE = 64
"""Rows of which alpha is copied at a time, where nothing is compiled."""
VISIBLE = 13
"""The least alpha, 5 %, that counts as a part of the object: what is fainter is not seen on white."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded photo: H x W x 3 uint8, sRGB, upright; C-contiguous, unless it has `rgbx`."""

    pixels: NDArray[np.uint8] = field(repr=False)
    rgba: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The same with its own straight alpha, H x W x 4 uint8; None if the file has no transparent pixel."""
    truncated: bool = False
    """Whether the file is truncated or damaged, so that a part of the pixels is what its decoder filled in."""
    rgbx: NDArray[np.uint8] | None = field(default=None, repr=False)
    """The memory of `pixels` if that has four bytes a pixel: H x W x 4, C-contiguous, the fourth undefined.

    Whoever submits such a picture gives its memory away: an engine that `takes_rgbx` makes the cut-out there.
    """

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
    review: Review | None = None
    """How sure the matte is; None where no model made it."""
    other: Review | None = None
    """In a cascade, the review of the other model's matte, which was less sure; None where only one model ran."""
    by_strong: bool = False
    """Whether a cascade's strong model made it."""

    def multiplied(self, rgba: NDArray[np.uint8]) -> "Cutout":
        """Multiply alpha with that of the photo itself, H x W x 4 uint8, sRGB, straight alpha.

        Semi-transparent pixels of the photo get its own colour, because the model saw them blended with white.
        """
        pixels, own = self.pixels.copy(), rgba[..., 3]
        blended = own < 255
        pixels[blended, :3] = rgba[blended, :3]
        product = pixels[..., 3].astype(np.uint16) * own
        pixels[..., 3] = (product + 127) // 255
        return replace(self, pixels=pixels)

    def doubted(self, doubt: Doubt) -> "Cutout":
        """Add a doubt to the review, if there is one."""
        return replace(self, review=self.review.with_doubt(doubt)) if self.review else self

    @property
    def coverage(self) -> float:
        """Mean alpha from 0 (nothing is left) to 1 (nothing was removed); computed on first access."""
        total, _ = self._measured
        return total / (255 * (self.pixels.size // 4))

    @property
    def box(self) -> Box | None:
        """The object's bounding box: every pixel with an alpha of at least VISIBLE; None if there is none."""
        _, corners = self._measured
        return Box(*corners) if any(corners) else None

    @cached_property
    def _measured(self) -> tuple[int, tuple[int, int, int, int]]:
        words: NDArray[np.uint32] = np.ascontiguousarray(self.pixels).view("<u4")[..., 0]
        compiled = pixel_kernels()
        return compiled.measure_alpha(words, VISIBLE) if compiled else measure_alpha(words, VISIBLE)


def measure_alpha(words: NDArray[np.uint32], least: int) -> tuple[int, tuple[int, int, int, int]]:
    """Sum up alpha, the highest byte of H x W words, and find where it is at least `least`: 1 to 255.

    Returns the sum and left, top, right and bottom, the latter two exclusive; zeros if that is nowhere.
    """
    stripes = (words[top : top + _STRIPE] for top in range(0, len(words), _STRIPE))
    total = sum(int((stripe >> 24).sum(dtype=np.uint64)) for stripe in stripes)
    rows, columns = (np.flatnonzero(words.max(axis=axis) >= least << 24).tolist() for axis in (1, 0))
    return total, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if rows else (0, 0, 0, 0)


def textured_picture(height: int = 540, width: int = 720) -> Picture:
    """Draw a soft disc of noise on a light background: the matte gets an outline, and the cut-out mixed colours."""
    down, across = np.ogrid[:height, :width]
    inside = np.clip((height / 3 - np.hypot(down - height / 2, across - width / 2)) / 20, 0, 1)[..., None]
    noise = np.random.default_rng(1).integers(0, 80, (height, width, 3))
    return Picture((inside * noise + (1 - inside) * (255 - noise / 4)).astype(np.uint8))
