"""The geometry of an output: how large it is, and where the object goes. Pure integers; no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inference.compose.spec import OutputSpec
from inference.compose.values import Align
from inference.picture import Box

Size = tuple[int, int]
"""Width and height in pixels."""
_LEAST_ROOM = 2
"""Pixels around an object's box that may show the faintest part of its edge."""


@dataclass(frozen=True)
class Frame:
    """An output's size, and which part of the source is drawn where: `region` of the source becomes `target`.

    What surrounds the region is drawn at the same scale, as far as source and output reach.
    """

    width: int
    height: int
    region: Box
    target: Box

    @property
    def is_scaled(self) -> bool:
        """Whether the source is drawn larger or smaller than it is."""
        return (self.region.width, self.region.height) != (self.target.width, self.target.height)

    def visible(self, source: Size) -> Box:
        """Return the rectangle of the output that the source covers."""
        across = (self.region.left, self.region.width, self.target.left, self.target.width)
        down = (self.region.top, self.region.height, self.target.top, self.target.height)
        left, right = _covered(*across, source[0], self.width)
        top, bottom = _covered(*down, source[1], self.height)
        return Box(left, top, right, bottom)

    def around(self, box: Box, source: Size) -> Box:
        """Return the part of `visible` that is drawn on an opaque background: the object's box, and a little room.

        Some models leave a faint haze everywhere, which would make a white background grey.
        """
        seen, room = self.visible(source), max(_LEAST_ROOM, max(box.width, box.height) // 100)
        left, top = max(seen.left, box.left - room), max(seen.top, box.top - room)
        return Box(left, top, min(seen.right, box.right + room), min(seen.bottom, box.bottom + room))

    def origin(self, box: Box, source: Size) -> tuple[float, float, float, float]:
        """Return the rectangle of the source that is drawn at this rectangle of the output, within the source."""
        x, y = self.region.width / self.target.width, self.region.height / self.target.height
        left, top = self.region.left - self.target.left * x, self.region.top - self.target.top * y
        right, bottom = min(source[0], left + box.right * x), min(source[1], top + box.bottom * y)
        return max(0.0, left + box.left * x), max(0.0, top + box.top * y), right, bottom

    def project(self, box: Box) -> Box | None:
        """Return where a rectangle of the source lies in the output, rounded outwards; None if it is outside of it."""
        across = (self.region.left, self.region.width, self.target.left, self.target.width)
        down = (self.region.top, self.region.height, self.target.top, self.target.height)
        left, right = _projected(box.left, box.right, *across)
        top, bottom = _projected(box.top, box.bottom, *down)
        left, top, right, bottom = max(0, left), max(0, top), min(self.width, right), min(self.height, bottom)
        return Box(left, top, right, bottom) if left < right and top < bottom else None


def _covered(start: int, length: int, target: int, target_length: int, source: int, output: int) -> tuple[int, int]:
    """Along one axis: the first and the end pixel of the output that the source covers completely."""
    first = target - start * target_length // length
    end = target + (source - start) * target_length // length
    return max(0, first), min(output, end)


def _projected(low: int, high: int, start: int, length: int, target: int, target_length: int) -> tuple[int, int]:
    """Along one axis: where low and high lie in the output, rounded down and up."""
    return target + (low - start) * target_length // length, target - (start - high) * target_length // length


def lay_out(spec: OutputSpec, source: Size, box: Box | None) -> Frame:
    """Lay out the output of a cut-out of this size with the object in `box`; without an object, its frame counts."""
    whole = Box(0, 0, *source)
    region = (box or whole) if spec.trim or spec.share is not None else whole
    if spec.canvas is None:
        return _around(spec, region)
    canvas = _canvas(spec, region)
    width, height = _fitted(spec, region, canvas)
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    if spec.align is Align.FOOT:
        top = canvas[1] - _foot_room(spec, canvas, max(width, height)) - height
    return Frame(*canvas, region, Box(left, top, left + width, top + height))


def _around(spec: OutputSpec, region: Box) -> Frame:
    """Lay out the region and its margin, scaled down to the longest side that is allowed."""
    margin, limit = spec.margin_of(max(region.width, region.height)), spec.max_side
    if limit is None or max(region.width, region.height) + 2 * margin <= limit:
        width, height = region.width, region.height
    else:
        scale = _scale_into(spec, region, (limit, limit))
        width, height = _scaled(region, scale)
        margin = spec.margin_of(max(width, height))
        width, height = min(width, limit - 2 * margin), min(height, limit - 2 * margin)
    target = Box(margin, margin, margin + width, margin + height)
    return Frame(width + 2 * margin, height + 2 * margin, region, target)


def _canvas(spec: OutputSpec, region: Box) -> Size:
    """Return the canvas's size; that of a ratio is the smallest which holds the region at its own size."""
    fixed = spec.canvas_size
    if fixed is not None:
        return fixed
    across, down = spec.canvas_ratio
    margin = 2 * spec.margin_of(max(region.width, region.height))
    share = spec.share or 1.0
    # Rounded down, so that the object takes at least its share.
    width, height = math.floor((region.width + margin) / share), math.floor((region.height + margin) / share)
    if width * down >= height * across:
        height = max(round(width * down / across), region.height + margin)
    else:
        width = max(round(height * across / down), region.width + margin)
    return _limited((width, height), spec.max_side)


def _limited(size: Size, longest: int | None) -> Size:
    if longest is None or max(size) <= longest:
        return size
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _fitted(spec: OutputSpec, region: Box, canvas: Size) -> Size:
    """Return the size at which the region is drawn on a canvas."""
    room = canvas
    if spec.share is not None:
        room = (math.ceil(canvas[0] * spec.share - 1e-9), math.ceil(canvas[1] * spec.share - 1e-9))
    scale = _scale_into(spec, region, room)
    is_kept = (spec.canvas_size is None and _limit_is_idle(spec, region, canvas)) or (scale > 1 and not spec.enlarge)
    if is_kept:
        return region.width, region.height
    width, height = _scaled(region, scale)
    return min(width, room[0]), min(height, room[1])


def _limit_is_idle(spec: OutputSpec, region: Box, canvas: Size) -> bool:
    """Whether a canvas of a ratio is as large as the region needs, not scaled down to the longest side."""
    return spec.max_side is None or _canvas(spec.model_copy(update={"max_side": None}), region) == canvas


def _scale_into(spec: OutputSpec, region: Box, room: Size) -> float:
    """Return the scale at which the region and its margin fill the room."""
    pixels, part = spec.margin_parts
    longer = max(region.width, region.height)
    return min(
        (room[0] - 2 * pixels) / (region.width + 2 * part * longer),
        (room[1] - 2 * pixels) / (region.height + 2 * part * longer),
    )


def _scaled(region: Box, scale: float) -> Size:
    return max(1, round(region.width * scale)), max(1, round(region.height * scale))


def _foot_room(spec: OutputSpec, canvas: Size, longer: int) -> int:
    """Return the room below an object that stands on the canvas's foot line."""
    if spec.share is not None:
        return round((1 - spec.share) / 2 * canvas[1])
    return spec.margin_of(longer)
