"""Which sizes a picture takes on its way through the device: pure functions of width and height.

Sizes are (height, width) in pixels, as in tensors.
"""

from __future__ import annotations

STEP = 64
"""The canvas's shorter side is a multiple of this: few shapes, so that batches fill and compiled graphs are reused."""

SHORTEST = 128
"""No canvas is narrower; longer panoramas are squeezed into it."""

DETAIL_LIMIT = 2048
DETAIL_SIDE = 1536
"""For a model that takes pictures of any size, one with a side over DETAIL_LIMIT is brought to DETAIL_SIDE.
Both figures are those of the CV-UNet Universal Matting service that alphadrop replaces."""


def canvas_size(width: int, height: int, side: int) -> tuple[int, int]:
    """The canvas for a picture: its longer side is `side`, the other one the nearest of the few allowed ones.

    The picture is squeezed to fit, by a quarter at the most up to 5:2. Nothing is padded, so nothing at the picture's
    border is next to anything that is not there.
    """
    shorter = side * min(width, height) / max(width, height)
    short = min(side, max(SHORTEST, round(shorter / STEP) * STEP))
    return (short, side) if width >= height else (side, short)


def canvases(side: int) -> list[tuple[int, int]]:
    """Every canvas there is, for warm-up: squares first."""
    shorts = [*range(max(SHORTEST, side % STEP or STEP), side, STEP), side]
    shapes = [(side, s) for s in reversed(shorts) if s >= min(SHORTEST, side)]
    return shapes + [(w, h) for h, w in shapes if h != w]


def detail_size(width: int, height: int) -> tuple[int, int]:
    """The size at which such a model sees the picture: its own, or DETAIL_SIDE on the longer side if it is large."""
    longer = max(width, height)
    if longer <= DETAIL_LIMIT:
        return height, width
    scale = DETAIL_SIDE / longer
    return max(1, round(height * scale)), max(1, round(width * scale))
