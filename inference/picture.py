"""The values that go into the engine and come out of it."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from inference.review.doubts import Doubt, Review

Trigger = Literal["full", "idle", "timeout", "closed"]
"""Why a batch was closed: it had reached a limit; no further picture was announced; an announced one did not arrive
within `max_wait`; the engine was being closed."""


_STRIPE = 64
"""Rows of which alpha is copied at a time."""
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

    @cached_property
    def coverage(self) -> float:
        """Mean alpha from 0 (nothing is left) to 1 (nothing was removed); computed on first access."""
        return int(self._row_sums.sum(dtype=np.uint64)) / (255 * self._words.size)

    @cached_property
    def box(self) -> Box | None:
        """The object's bounding box: every pixel with an alpha of at least VISIBLE; None if there is none."""
        words = self._words
        rows = np.flatnonzero(self._row_sums >= VISIBLE)  # any other row has no visible pixel
        top = next((int(row) for row in rows if _is_visible(words[row])), None)
        if top is None:
            return None
        bottom = next(int(row) for row in rows[::-1] if _is_visible(words[row])) + 1
        columns = np.flatnonzero(words[top:bottom].max(axis=0) >= VISIBLE << 24)
        return Box(int(columns[0]), top, int(columns[-1]) + 1, bottom)

    @property
    def _words(self) -> NDArray[np.uint32]:
        """H x W: one word for each pixel, with alpha as its highest byte; four times as fast as every fourth byte."""
        words: NDArray[np.uint32] = np.ascontiguousarray(self.pixels).view("<u4")[..., 0]
        return words

    @cached_property
    def _row_sums(self) -> NDArray[np.uint32]:
        """The sum of alpha in each row."""
        words = self._words
        sums = np.empty(len(words), np.uint32)
        alpha = np.empty((min(_STRIPE, len(words)), words.shape[1]), np.uint32)  # reused: it stays in the cache
        for top in range(0, len(words), _STRIPE):
            stripe = words[top : top + _STRIPE]
            np.right_shift(stripe, 24, out=alpha[: len(stripe)])
            np.add.reduce(alpha[: len(stripe)], axis=1, out=sums[top : top + _STRIPE])
        return sums


def _is_visible(words: NDArray[np.uint32]) -> bool:
    return bool(words.max() >= VISIBLE << 24)


def textured_picture(height: int = 540, width: int = 720) -> Picture:
    """Draw a soft disc of noise on a light ground, so that a matte has an outline and a cut-out has mixed colours."""
    down, across = np.ogrid[:height, :width]
    inside = np.clip((height / 3 - np.hypot(down - height / 2, across - width / 2)) / 20, 0, 1)[..., None]
    noise = np.random.default_rng(1).integers(0, 80, (height, width, 3))
    return Picture((inside * noise + (1 - inside) * (255 - noise / 4)).astype(np.uint8))
