"""Composes pictures for requests, in a process of its own: decoders read here what strangers have sent.

`python -m watcher.web.api.compose_process` answers the requests of `child.Child`. Its memory is limited.
"""

from __future__ import annotations

import contextlib
import io
import resource
import zipfile
from typing import Any

import numpy as np
from PIL import Image

from inference.codec import decode
from inference.compose.look import Drawn, draw, draw_layers, keep_inside
from inference.errors import OutputDoesNotFit, PictureError
from inference.picture import Box, Cutout, Picture
from watcher.web.api.composing import MAX_PIXELS, Result, no_foreground
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.removebg_options import RemovebgOptions
from watcher.web.api.values import Region
from watcher.web.api.wanted import Wanted
from watcher.web.child import Answer, serve
from watcher.web.errors import ApiError, bad_request

MEMORY = 3 * 2**30
"""Bytes of address space."""
_OPTIONS: dict[str, type[RemovebgOptions] | type[RembgOptions]] = {"removebg": RemovebgOptions, "rembg": RembgOptions}


def handle(header: dict[str, Any], data: bytes) -> Answer:
    """The picture that the request asks for, or the error for its client."""
    options = _OPTIONS[header["kind"]].model_validate(header["options"])
    file, background = data[: header["cutout"]], data[header["cutout"] :]
    try:
        result = compose_result(file, options.wanted, background)
    except ApiError as error:
        return {"error": {"code": error.code, "detail": error.detail}}, b""
    except MemoryError:
        return {"error": {"code": "not_composed", "detail": "the picture takes too much memory"}}, b""
    box = result.foreground
    facts = {"media_type": result.media_type, "width": result.width, "height": result.height}
    return {**facts, "foreground": [box.left, box.top, box.right, box.bottom]}, result.data


def compose_result(file: bytes, wanted: Wanted, background: bytes = b"") -> Result:
    """Make what is wanted of the file of a cut-out. Raises ApiError where it has no object, or the format no room."""
    cutout = _cutout(decode(file, max_pixels=MAX_PIXELS))
    if wanted.roi is not None:
        cutout = keep_inside(cutout, _region(wanted.roi, cutout))
    box = cutout.box
    if box is None:
        raise no_foreground()
    picture = _background(background) if background else None
    try:
        if wanted.is_zip:
            return _zipped(draw_layers(cutout, wanted.look), box)
        drawn = draw(cutout, wanted.look, picture)
    except OutputDoesNotFit as error:
        raise bad_request("invalid_format", str(error)) from error
    return Result(drawn.data, drawn.format.content_type, drawn.width, drawn.height, box)


def _background(data: bytes) -> Image.Image:
    """The picture to put behind an object, as RGB. Raises ApiError."""
    try:
        return Image.fromarray(decode(data, max_pixels=MAX_PIXELS).pixels)
    except PictureError as error:
        raise bad_request("invalid_bg_image", f"the background picture cannot be used: {error}") from error


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


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    serve(handle)
