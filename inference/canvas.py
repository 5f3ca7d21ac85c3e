"""The sizes to which a picture is scaled for a model: pure functions of its width and height.

Sizes are (height, width) in pixels, as in tensors.
"""

from __future__ import annotations

STEP = 64
"""The canvas's shorter side is a multiple of this: with few shapes, batches fill and CUDA graphs are reused."""

SHORTEST = 128
"""No canvas is narrower; longer panoramas are squeezed into it."""

DETAIL_LIMIT = 2048
DETAIL_SIDE = 1536
"""For a model that takes pictures of any size, one with a side over DETAIL_LIMIT is scaled down to DETAIL_SIDE.
Both values are those of the CV-UNet Universal Matting service that alphadrop replaces."""


def canvas_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the canvas for a picture: its longer side is `side`, its shorter side the nearest allowed one.

    Up to an aspect ratio of 5:2 this distorts the picture by a quarter at most. Nothing is padded, so the model never
    sees an edge that is not in the picture.
    """
    shorter = side * min(width, height) / max(width, height)
    short = min(side, max(SHORTEST, round(shorter / STEP) * STEP))
    return (short, side) if width >= height else (side, short)


def canvases(side: int) -> list[tuple[int, int]]:
    """List every canvas that `canvas_size` can return, for the warm-up: the square first."""
    shorts = [*range(max(SHORTEST, side % STEP or STEP), side, STEP), side]
    shapes = [(side, s) for s in reversed(shorts) if s >= min(SHORTEST, side)]
    return shapes + [(w, h) for h, w in shapes if h != w]


def detail_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a model of any size sees the picture: its own, or DETAIL_SIDE on the longer side."""
    longer = max(width, height)
    if longer <= DETAIL_LIMIT:
        return height, width
    scale = DETAIL_SIDE / longer
    return max(1, round(height * scale)), max(1, round(width * scale))
