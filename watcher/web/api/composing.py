"""From a cut-out that the sink holds to the picture that a request asks for. Blocking; loads no torch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from inference.codec import decode, probe
from inference.codec.header import identify
from inference.compose.look import Drawn, Look, draw, draw_layers, keep_inside
from inference.compose.spec import OutputSpec
from inference.compose.values import Format
from inference.errors import OutputDoesNotFit, PictureError
from inference.picture import Box, Cutout, Picture
from watcher.config.outputs import OutputSettings
from watcher.web.api.values import Region
from watcher.web.errors import ApiError, bad_request

MAX_PIXELS = 32_000_000
"""Largest picture that is composed for a request, which takes up to 16 bytes of memory for each pixel."""
_WHOLE = frozenset({"format", "lossless", "quality", "depth", "dpi", "icc", "exif", "gps", "max_bytes"})
"""Options that leave every pixel of the cut-out where it was."""


@dataclass(frozen=True)
class Result:
    """The picture for a request."""

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    foreground: Box
    """Where the object is in the photo."""


@dataclass(frozen=True)
class Wanted:
    """What a request asks for."""

    look: Look
    is_zip: bool = False
    roi: Region | None = None
    """The part of the photo to which the object is limited; None for all of it."""

    def is_served_by(self, file: bytes) -> bool:
        """Whether the file of the cut-out is what is wanted."""
        kept = self.look.is_as_it_is and not self.is_zip and self.roi is None
        return kept and identify(file).lower() == self.look.chosen_format.value


def whole_cutout(outputs: Sequence[OutputSettings]) -> OutputSettings | None:
    """The output that has the whole picture with its alpha, the exact one first; None if there is none."""
    found = [output for output in outputs if _is_whole(output.spec)]
    return min(found, key=lambda output: (not output.spec.is_plain, output.spec.is_lossy), default=None)


def _is_whole(spec: OutputSpec) -> bool:
    return spec.format is not Format.JPEG and spec.changes().keys() <= _WHOLE


def require_size(photo: bytes) -> tuple[int, int]:
    """Width and height of a photo as its header states them. Raises ApiError for none, or one that is too large."""
    try:
        info = probe(photo)
    except PictureError as error:
        raise bad_request("unknown_format", str(error)) from error
    if info.width * info.height > MAX_PIXELS:
        raise bad_request(
            "resolution_too_high",
            f"the picture has {info.width} x {info.height} pixels, and at most {MAX_PIXELS // 1_000_000} megapixels "
            "are composed here; send a smaller one, or use POST /v1/cutouts",
        )
    return info.width, info.height


def read_ground(data: bytes) -> Image.Image:
    """The picture to put behind an object, as RGB. Raises ApiError."""
    try:
        return Image.fromarray(decode(data, max_pixels=MAX_PIXELS).pixels)
    except PictureError as error:
        raise bad_request("invalid_bg_image", f"the background picture cannot be used: {error}") from error


def compose_result(file: bytes, wanted: Wanted) -> Result:
    """Make what is wanted of the file of a cut-out. Raises ApiError where it has no object, or the format no room."""
    cutout = _cutout(decode(file, max_pixels=MAX_PIXELS))
    if wanted.roi is not None:
        cutout = keep_inside(cutout, _region(wanted.roi, cutout))
    box = cutout.box
    if box is None:
        raise no_foreground()
    try:
        if wanted.is_zip:
            return _zipped(draw_layers(cutout, wanted.look), box)
        if wanted.is_served_by(file):
            height, width = cutout.pixels.shape[:2]
            return Result(file, wanted.look.chosen_format.content_type, width, height, box)
        drawn = draw(cutout, wanted.look)
    except OutputDoesNotFit as error:
        raise bad_request("invalid_format", str(error)) from error
    return Result(drawn.data, drawn.format.content_type, drawn.width, drawn.height, box)


def no_foreground() -> ApiError:
    """The error for a picture in which no object was found."""
    return bad_request("unknown_foreground", "no object was found in the picture; send one in which it is clearly seen")


def _region(roi: Region, cutout: Cutout) -> Box:
    height, width = cutout.pixels.shape[:2]
    try:
        return roi.of(width, height)
    except ValueError as error:
        raise bad_request("invalid_roi", f"roi {error}") from error


def _cutout(picture: Picture) -> Cutout:
    if picture.rgba is not None:
        return Cutout(picture.rgba)
    opaque = np.full((*picture.pixels.shape[:2], 1), 255, np.uint8)
    return Cutout(np.concatenate((picture.pixels, opaque), axis=2))


def _zipped(layers: tuple[Drawn, Drawn], box: Box) -> Result:
    colours, alpha = layers
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, layer in (("color.jpg", colours), ("alpha.png", alpha)):
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), layer.data)
    return Result(archive.getvalue(), "application/zip", colours.width, colours.height, box)
