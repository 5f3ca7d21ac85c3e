"""Frames that a request describes, not a setting: crop with four margins, scale, position, a limit of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inference.compose.frame import Frame, Size
from inference.picture import Box


@dataclass(frozen=True)
class Length:
    """A length in pixels, or a part of another length."""

    amount: float
    is_part: bool = False
    """Whether `amount` is a part, where 0.5 is a half, and not pixels."""

    def of(self, whole: int) -> int:
        """Return the length in pixels.

        >>> Length(0.5, is_part=True).of(301), Length(12).of(301)
        (150, 12)
        """
        return round(self.amount * whole) if self.is_part else round(self.amount)


@dataclass(frozen=True)
class Margins:
    """The room around an object; parts are of its own width and height."""

    top: Length
    right: Length
    bottom: Length
    left: Length


NO_MARGINS = Margins(Length(0), Length(0), Length(0), Length(0))


@dataclass(frozen=True)
class Placement:
    """Where the object goes. The default is the whole picture as it is."""

    crop: Margins | None = None
    """Cut the frame down to the object and these margins."""
    scale: float | None = None
    """How much of the picture's width or height the object takes, 0..1, whichever is tighter; None leaves its size."""
    position: tuple[float, float] | None = None
    """Where the object is, across and down: 0 is left or top, 1 is right or bottom; None leaves it where it was."""
    max_pixels: int | None = None
    """Most pixels; a larger frame is scaled down."""

    @property
    def is_whole(self) -> bool:
        """Whether the picture is kept as it is, at any size."""
        return self == WHOLE


WHOLE = Placement()
"""The whole picture as it is."""


def place(placement: Placement, source: Size, box: Box | None) -> Frame:
    """Lay out a cut-out of this size with the object in `box`. Without an object, its whole frame is kept."""
    whole = Box(0, 0, *source)
    if box is None:
        frame = Frame(*source, whole, whole)
    elif placement.crop is not None:
        frame = _cropped(placement.crop, box)
    elif placement.scale is not None or placement.position is not None:
        frame = Frame(*source, box, _moved(placement, source, box))
    else:
        frame = Frame(*source, whole, whole)
    return _limited(frame, placement.max_pixels)


def _cropped(margins: Margins, box: Box) -> Frame:
    left, top = margins.left.of(box.width), margins.top.of(box.height)
    width = left + box.width + margins.right.of(box.width)
    height = top + box.height + margins.bottom.of(box.height)
    return Frame(width, height, box, Box(left, top, left + box.width, top + box.height))


def _moved(placement: Placement, source: Size, box: Box) -> Box:
    """Return where the object is drawn on a canvas of the source's size."""
    factor = 1.0
    if placement.scale is not None:
        factor = placement.scale * min(source[0] / box.width, source[1] / box.height)
    width = min(source[0], max(1, round(box.width * factor)))
    height = min(source[1], max(1, round(box.height * factor)))
    across, down = placement.position or (0.5, 0.5)
    left, top = round(across * (source[0] - width)), round(down * (source[1] - height))
    return Box(left, top, left + width, top + height)


def _limited(frame: Frame, most: int | None) -> Frame:
    """Scale a frame down to `most` pixels, and with it what is drawn in it."""
    if most is None or frame.width * frame.height <= most:
        return frame
    scale = math.sqrt(most / (frame.width * frame.height))
    width, height = max(1, math.floor(frame.width * scale)), max(1, math.floor(frame.height * scale))
    x, y, target = width / frame.width, height / frame.height, frame.target
    left, top = min(width - 1, round(target.left * x)), min(height - 1, round(target.top * y))
    right, bottom = max(left + 1, round(target.right * x)), max(top + 1, round(target.bottom * y))
    return Frame(width, height, frame.region, Box(left, top, right, bottom))
