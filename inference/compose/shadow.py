"""A soft contact shadow: dark where the object stands, fading away from it.

It follows the object's lower contour, and only where that is near the lowest point: the legs of a chair seen from the
front get a shadow each, and what hangs above the ground gets none. Two blurs are added: a narrow one for the line of
contact, a wide one for its surroundings. All lengths are parts of the object's width or height, so that a shadow looks
alike at every size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from inference.compose.frame import Size
from inference.picture import Box

_SOLID = 128
"""Least alpha of the contour that stands on the ground."""
_REACH = 0.18
"""Height above the lowest point, as part of the object's height, at which an edge casts no shadow any more."""
_NARROW, _WIDE = (0.012, 0.009), (0.05, 0.028)
"""Blur radii across and down, as parts of the object's width."""
_NARROW_PART = 0.6
_THICKNESS = 0.016
"""Half the thickness of the line before it is blurred, as part of the object's width."""


def contact_shadow(alpha: NDArray[np.uint8], box: Box, canvas: Size) -> tuple[Box, NDArray[np.float32]]:
    """Draw the shadow of an object whose alpha is H x W, that of the whole canvas, with the object in `box`.

    Returns the rectangle of the canvas that the shadow touches, and its darkness there, h x w in 0..1.
    """
    foot, weights = _contour(alpha[box.top : box.bottom, box.left : box.right])
    room = round(3 * _WIDE[0] * box.width) + 1
    below = round(3 * _WIDE[1] * box.width) + 2 * round(_THICKNESS * box.width) + 1
    above = below + round(_REACH * box.height)
    line = _line(foot, weights, above, (room, below), max(1, round(_THICKNESS * box.width)))
    darkness = _NARROW_PART * _blurred(line, _NARROW, box.width) + (1 - _NARROW_PART) * _blurred(line, _WIDE, box.width)
    area = Box(box.left - room, box.bottom - above, box.right + room, box.bottom + below)
    return _clipped(area, darkness, canvas)


def _contour(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For every column, the height of the lowest solid pixel above the lowest of all, and its weight in 0..1."""
    solid = alpha[::-1] >= _SOLID
    height = solid.argmax(axis=0)
    present = solid.any(axis=0)
    reach = max(1.0, _REACH * alpha.shape[0])
    near = np.clip(1 - height / reach, 0, 1).astype(np.float32)
    return height, np.where(present, near * near * (3 - 2 * near), 0).astype(np.float32)


def _line(
    foot: NDArray[np.intp], weights: NDArray[np.float32], above: int, room: tuple[int, int], thickness: int
) -> Image.Image:
    """Draw a line below the contour, as dark as its weights; the lowest point is `above` rows from the top."""
    across, below = room
    rows = np.arange(above + below, dtype=np.int64)[:, None]
    distance = np.abs(rows - (above - 1 - foot + thickness // 2)[None, :])
    line = np.zeros((above + below, len(foot) + 2 * across), np.uint8)
    line[:, across : across + len(foot)] = np.where(distance <= thickness, np.rint(weights * 255), 0)
    return Image.fromarray(line)


def _blurred(line: Image.Image, radii: tuple[float, float], width: int) -> NDArray[np.float32]:
    blur = ImageFilter.GaussianBlur((radii[0] * width, radii[1] * width))
    return np.asarray(line.filter(blur), np.float32) / np.float32(255)


def _clipped(area: Box, darkness: NDArray[np.float32], canvas: Size) -> tuple[Box, NDArray[np.float32]]:
    inside = Box(max(0, area.left), max(0, area.top), min(canvas[0], area.right), min(canvas[1], area.bottom))
    rows = slice(inside.top - area.top, inside.bottom - area.top)
    return inside, darkness[rows, inside.left - area.left : inside.right - area.left]
