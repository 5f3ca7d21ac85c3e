"""Draw a finished cut-out as a request wants it: placed, on a background, with a shadow, as a mask or in two layers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from inference.compose.background import covering
from inference.compose.encoding import require_size, write
from inference.compose.frame import Frame
from inference.compose.metadata import output_metadata
from inference.compose.painting import Pixels, paint
from inference.compose.placement import WHOLE, Placement, place
from inference.compose.source import NO_METADATA
from inference.compose.spec import OutputSpec
from inference.compose.values import Format
from inference.picture import Box, Cutout

Rgba = tuple[int, int, int, int]
"""Red, green, blue and alpha, 0 to 255, sRGB, straight alpha."""
_OPAQUE = 255
_WHITE = (255, 255, 255, _OPAQUE)
_LAYER_QUALITY = 95
"""Of the colours that are to be put together with their alpha again."""


@dataclass(frozen=True)
class Look:
    """What a request asks of a cut-out. The default is the cut-out as it is, as a PNG."""

    format: Format | None = None
    """None is a PNG where a pixel may be transparent, and a JPEG where none is."""
    is_mask: bool = False
    """Only alpha, as a grey picture in which the object is white."""
    placement: Placement = WHOLE
    colour: Rgba | None = None
    """The background's colour."""
    shadow: float = 0.0
    """Strength of a soft shadow under the object's foot, 0..1."""

    @property
    def is_opaque(self) -> bool:
        """Whether no pixel is transparent."""
        return self.is_mask or (self.colour is not None and self.colour[3] == _OPAQUE)

    @property
    def is_as_it_is(self) -> bool:
        """Whether the cut-out is kept as it is, in whatever format."""
        return not self.is_opaque and self.placement.is_whole and self.colour is None and not self.shadow

    @property
    def chosen_format(self) -> Format:
        """The format that is written."""
        if self.format is not None:
            return self.format
        return Format.JPEG if self.is_opaque and not self.is_mask else Format.PNG


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn."""

    data: bytes = field(repr=False)
    """The file."""
    format: Format
    width: int
    height: int


def draw(cutout: Cutout, look: Look, background: Image.Image | None = None) -> Drawn:
    """Draw and encode. A JPEG without a background gets a white one.

    `background` is an RGB picture of any size that fills the frame; it takes the place of a colour.

    Raises OutputDoesNotFit if a side is longer than the format allows.
    """
    if background is not None and not look.is_mask:
        look = replace(look, colour=_WHITE)  # under the picture
    spec = _spec(look)
    frame = _frame(cutout, look)
    require_size(frame.width, frame.height, spec)
    return _written(_painted(cutout, look, spec, frame, background), spec)


def draw_layers(cutout: Cutout, look: Look) -> tuple[Drawn, Drawn]:
    """Draw the colours as a JPEG and alpha as a PNG, H x W each; the colours are black where alpha is 0."""
    frame = _frame(cutout, look)
    jpeg = OutputSpec(format=Format.JPEG, background="black", quality=_LAYER_QUALITY)
    require_size(frame.width, frame.height, jpeg)
    box = frame.project(cutout.box) if cutout.box else None
    rgba = paint(cutout, OutputSpec(shadow=look.shadow), frame, box)
    colours = rgba[..., :3] * (rgba[..., 3:] > 0)
    return _written(colours, jpeg), _written(np.ascontiguousarray(rgba[..., 3:]), OutputSpec(content="mask"))


def keep_inside(cutout: Cutout, region: Box) -> Cutout:
    """Remove everything outside of a region of the picture."""
    pixels = np.zeros_like(cutout.pixels)
    rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
    pixels[rows, columns] = cutout.pixels[rows, columns]
    return Cutout(pixels)


def _spec(look: Look) -> OutputSpec:
    format = look.chosen_format
    if look.is_mask:
        return OutputSpec(format=format, content="mask", lossless=format is Format.WEBP)
    return OutputSpec(format=format, background=_background(look, format), shadow=look.shadow)


def _background(look: Look, format: Format) -> str:
    """Return the background of an opaque picture; a veil of colour is put under the others afterwards."""
    if format is Format.JPEG:
        return _hexadecimal(_on_white(look.colour or (0, 0, 0, 0)))
    is_opaque = look.colour is not None and look.colour[3] == _OPAQUE
    return _hexadecimal(look.colour) if look.colour and is_opaque else "none"


def _on_white(colour: Rgba) -> Rgba:
    red, green, blue = (round(255 + (value - 255) * colour[3] / _OPAQUE) for value in colour[:3])
    return red, green, blue, _OPAQUE


def _hexadecimal(colour: Rgba) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour[:3])


def _frame(cutout: Cutout, look: Look) -> Frame:
    height, width = cutout.pixels.shape[:2]
    return place(look.placement, (width, height), cutout.box)


def _painted(cutout: Cutout, look: Look, spec: OutputSpec, frame: Frame, picture: Image.Image | None) -> Pixels:
    box = frame.project(cutout.box) if cutout.box else None
    background = covering(picture, (frame.width, frame.height)) if picture and not look.is_mask else None
    pixels = paint(cutout, spec, frame, box, background)
    is_veil = look.colour is not None and look.colour[3] < _OPAQUE and pixels.shape[2] == 4
    return _over(pixels, look.colour) if is_veil and look.colour else pixels


def _over(pixels: Pixels, colour: Rgba) -> Pixels:
    """Put H x W x 4 over a semi-transparent colour."""
    layer = Image.fromarray(pixels)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, colour), layer))


def _written(pixels: Pixels, spec: OutputSpec) -> Drawn:
    data = write(pixels, spec, output_metadata(spec, NO_METADATA, {}), 1)
    return Drawn(data, spec.format, pixels.shape[1], pixels.shape[0])
