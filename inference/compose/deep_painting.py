"""The pixels of an output with 16 bits a channel, from a 16-bit source.

The matte has 8 bits. Opaque pixels get the source's 16-bit colours; the semi-transparent ones of the edge keep the
foreground colours that were estimated for them with 8 bits. Scaling and blending are done in floats, in sRGB values as
in `painting`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.compose.background import fill
from inference.compose.frame import Frame
from inference.compose.painting import filter_for
from inference.compose.shadow import contact_shadow
from inference.compose.spec import OutputSpec
from inference.picture import Box, Cutout

Planes = NDArray[np.float32]
"""H x W x 4, 0..1: colours multiplied by alpha, then alpha."""
_WHITE = 65535


def paint_deep(
    cutout: Cutout, colours: NDArray[np.uint16], spec: OutputSpec, frame: Frame, box: Box | None
) -> NDArray[np.uint16]:
    """Paint an output as `paint`, from the source's colours H x W x 3: H x W x 3 or H x W x 4 uint16."""
    pixels = _joined(cutout, colours)
    if not (frame.is_scaled or spec.shadow or spec.is_opaque):
        return _cropped(pixels, frame)
    source = (pixels.shape[1], pixels.shape[0])
    place = frame.visible(source)
    if spec.is_opaque:
        place = frame.around(box, source) if box else Box(0, 0, 0, 0)
    planes = _canvas(pixels, frame, place)
    if box is not None and spec.shadow:
        _put_shadow_behind(planes, box, spec.shadow)
    return _on_background(planes, spec) if spec.is_opaque else _straight(planes)


def _joined(cutout: Cutout, colours: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the cut-out as H x W x 4 uint16."""
    pixels = cutout.pixels.astype(np.uint16)
    pixels *= 257
    opaque = cutout.pixels[..., 3] == 255
    pixels[opaque, :3] = colours[opaque]
    return pixels


def _cropped(pixels: NDArray[np.uint16], frame: Frame) -> NDArray[np.uint16]:
    place = frame.visible((pixels.shape[1], pixels.shape[0]))
    left, top, right, bottom = (round(side) for side in frame.origin(place, (pixels.shape[1], pixels.shape[0])))
    canvas = np.zeros((frame.height, frame.width, 4), np.uint16)
    canvas[place.top : place.bottom, place.left : place.right] = pixels[top:bottom, left:right]
    return canvas


def _canvas(pixels: NDArray[np.uint16], frame: Frame, place: Box) -> Planes:
    """Multiply by alpha, scale, and put on a canvas of zeros at `place`, one plane after the other."""
    alpha = pixels[..., 3].astype(np.float32) / np.float32(_WHITE)
    canvas = np.zeros((frame.height, frame.width, 4), np.float32)
    if not place.width:
        return canvas
    for channel in range(4):
        plane = alpha
        if channel < 3:
            plane = pixels[..., channel].astype(np.float32) / np.float32(_WHITE) * alpha
        canvas[place.top : place.bottom, place.left : place.right, channel] = _scaled(plane, frame, place)
    # Filters overshoot: a colour above its alpha would be brighter than white.
    np.clip(canvas[..., 3], 0, 1, out=canvas[..., 3])
    np.clip(canvas[..., :3], 0, canvas[..., 3:], out=canvas[..., :3])
    return canvas


def _scaled(plane: NDArray[np.float32], frame: Frame, place: Box) -> NDArray[np.float32]:
    """Return the part of a plane H x W that is visible at `place`, at the output's scale."""
    left, top, right, bottom = frame.origin(place, (plane.shape[1], plane.shape[0]))
    if not frame.is_scaled:
        return plane[round(top) : round(bottom), round(left) : round(right)]
    image = Image.fromarray(plane)
    return np.asarray(image.resize((place.width, place.height), filter_for(frame), (left, top, right, bottom)))


def _put_shadow_behind(planes: Planes, box: Box, strength: float) -> None:
    alpha = np.rint(planes[..., 3] * 255).astype(np.uint8)
    area, darkness = contact_shadow(alpha, box, (planes.shape[1], planes.shape[0]))
    part = planes[area.top : area.bottom, area.left : area.right, 3]
    part += (1 - part) * darkness * np.float32(strength)


def _on_background(planes: Planes, spec: OutputSpec) -> NDArray[np.uint16]:
    background = np.asarray(fill(spec, (planes.shape[1], planes.shape[0])), np.float32) / np.float32(255)
    background *= 1 - planes[..., 3:]
    background += planes[..., :3]
    return _values(background)


def _straight(planes: Planes) -> NDArray[np.uint16]:
    alpha = planes[..., 3:]
    colours = np.divide(planes[..., :3], alpha, out=np.zeros_like(planes[..., :3]), where=alpha > 0)
    return _values(np.concatenate((colours, alpha), axis=2))


def _values(parts: NDArray[np.float32]) -> NDArray[np.uint16]:
    values: NDArray[np.uint16] = np.rint(parts.clip(0, 1) * _WHITE).astype(np.uint16)
    return values
