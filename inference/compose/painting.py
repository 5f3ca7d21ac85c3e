"""The pixels of an output with 8 bits a channel: the object on its background, with its shadow.

Everything is blended in sRGB values, not in linear light: the matte was estimated for such a blend, so the photo's own
background comes back exactly (docs/decisions/0037). Colours are resized multiplied by alpha, so that what is hidden
under transparent pixels never shows at an edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.compose.background import fill
from inference.compose.frame import Frame
from inference.compose.shadow import contact_shadow
from inference.compose.spec import OutputSpec
from inference.picture import Box, Cutout

Pixels = NDArray[np.uint8]


def paint(
    cutout: Cutout, spec: OutputSpec, frame: Frame, box: Box | None, background: Image.Image | None = None
) -> Pixels:
    """Paint an output. `box` is where the object is in it.

    An RGB picture of the frame's size as `background` takes the place of the spec's colour or picture; it is drawn on.

    Returns H x W x 1 (a mask), H x W x 3 (an opaque background) or H x W x 4 (straight alpha), uint8, sRGB.
    """
    size = (cutout.pixels.shape[1], cutout.pixels.shape[0])
    if spec.content == "cutout" and spec.is_opaque:
        return _on_background(cutout.pixels, spec, frame, box, background or fill(spec, (frame.width, frame.height)))
    place = frame.visible(size)
    patch = _drawn(cutout.pixels, frame, place)
    if spec.content == "mask":
        return _on_canvas(patch[..., 3:], place, frame)
    canvas = _on_canvas(patch, place, frame)
    return canvas if box is None or not spec.shadow else _over_shadow(canvas, box, spec.shadow)


def _on_background(pixels: Pixels, spec: OutputSpec, frame: Frame, box: Box | None, background: Image.Image) -> Pixels:
    if box is None:
        return np.asarray(background)
    place = frame.around(box, (pixels.shape[1], pixels.shape[0]))
    patch = _drawn(pixels, frame, place)
    if spec.shadow:
        background = _darkened(background, _on_canvas(patch[..., 3:], place, frame)[..., 0], box, spec.shadow)
    layer = Image.fromarray(patch)
    background.paste(layer, (place.left, place.top), layer)
    return np.asarray(background)


def _drawn(pixels: Pixels, frame: Frame, place: Box) -> Pixels:
    """Return what of H x W x 4 is visible at `place`, at the output's scale."""
    left, top, right, bottom = frame.origin(place, (pixels.shape[1], pixels.shape[0]))
    if not frame.is_scaled:
        return pixels[round(top) : round(bottom), round(left) : round(right)]
    method = filter_for(frame)
    return np.asarray(Image.fromarray(pixels).resize((place.width, place.height), method, (left, top, right, bottom)))


def filter_for(frame: Frame) -> Image.Resampling:
    """Return the filter for the frame's scale: Lanczos keeps detail when scaling down, but rings when scaling up."""
    is_smaller = frame.target.width < frame.region.width or frame.target.height < frame.region.height
    return Image.Resampling.LANCZOS if is_smaller else Image.Resampling.BICUBIC


def _on_canvas(patch: Pixels, place: Box, frame: Frame) -> Pixels:
    """Put a patch H x W x C on a canvas of zeros; a patch that covers the canvas is returned as it is."""
    if (place.width, place.height) == (frame.width, frame.height):
        return patch
    canvas = np.zeros((frame.height, frame.width, patch.shape[2]), np.uint8)
    canvas[place.top : place.bottom, place.left : place.right] = patch
    return canvas


def _over_shadow(canvas: Pixels, box: Box, strength: float) -> Pixels:
    """Put black behind the object where its shadow falls; H x W x 4, straight alpha."""
    area, darkness = contact_shadow(canvas[..., 3], box, (canvas.shape[1], canvas.shape[0]))
    result = canvas.copy()
    part = result[area.top : area.bottom, area.left : area.right]
    alpha = part[..., 3:].astype(np.float32) / 255
    joined = alpha + (1 - alpha) * (darkness * strength)[..., None]
    colour = part[..., :3] * np.divide(alpha, joined, out=np.zeros_like(alpha), where=joined > 0)
    part[..., :3], part[..., 3:] = np.rint(colour), np.rint(joined * 255)
    return result


def _darkened(background: Image.Image, alpha: Pixels, box: Box, strength: float) -> Image.Image:
    """Darken an opaque background where the shadow falls."""
    area, darkness = contact_shadow(alpha, box, background.size)
    place = (area.left, area.top, area.right, area.bottom)
    light = 1 - darkness[..., None] * np.float32(strength)
    part = np.asarray(background.crop(place), np.float32) * light
    background.paste(Image.fromarray(np.rint(part).astype(np.uint8)), place)
    return background
