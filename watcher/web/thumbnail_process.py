"""Makes small pictures, in a process of its own: decoders read here what strangers have uploaded.

`python -m watcher.web.thumbnail_process` answers the requests of `child.Child`. Its memory is limited, and it gives way
to the workers.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
from typing import Any

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from inference.codec import decode, probe
from inference.errors import PictureError
from watcher.web.child import Answer, serve

MEMORY = 3 * 2**30
"""Bytes of address space."""
QUALITY = 78


def handle(header: dict[str, Any], data: bytes) -> Answer:
    """A WebP whose longer side has `size` pixels, or why there is none."""
    try:
        image = _small(data, int(header["size"]), int(header["max_pixels"]))
    except (PictureError, OSError, ValueError, MemoryError, SyntaxError) as error:
        return {"problem": str(error) or type(error).__name__}, b""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return {}, file.getvalue()


def _small(data: bytes, size: int, max_pixels: int) -> Image.Image:
    info = probe(data)
    if info.width * info.height > max_pixels:
        raise ValueError(f"{info.width} x {info.height} pixels are too many")
    image = _draft(data, size) if info.format == "JPEG" else None
    if image is None:
        picture = decode(data, max_pixels=max_pixels, keep_truncated=True)
        image = Image.fromarray(picture.pixels if picture.rgba is None else picture.rgba)
    image.thumbnail((size, size), reducing_gap=2.0)
    return image


def _draft(data: bytes, size: int) -> Image.Image | None:
    """A JPEG at an eighth to a half of its size, which decodes in a fraction of the time; None where colours matter."""
    with JpegImageFile(io.BytesIO(data)) as image:
        if image.mode not in ("RGB", "L") or "icc_profile" in image.info:
            return None
        image.draft("RGB", (2 * size, 2 * size))
        return ImageOps.exif_transpose(image).convert("RGB")


if __name__ == "__main__":
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(10)
    serve(handle)
