"""The background of an output: a colour, or a picture that covers the frame."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image

from inference.codec import decode
from inference.compose.frame import Size
from inference.compose.spec import OutputSpec
from inference.errors import BackgroundUnreadable, PictureError


def fill(spec: OutputSpec, size: Size) -> Image.Image:
    """Return a fresh RGB picture of this size, filled with the background's colour or picture.

    The picture keeps its ratio and is cropped around its centre. Raises BackgroundUnreadable.
    """
    path = spec.background_path
    if path is None:
        return Image.new("RGB", size, spec.colour or (255, 255, 255))
    return _covering(path, _modified(path), size).copy()


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


@lru_cache(maxsize=2)
def _covering(path: Path, modified: int, size: Size) -> Image.Image:
    """Read and scale the picture; `modified` makes a changed file another entry of the cache."""
    return covering(_read(path), size)


def covering(image: Image.Image, size: Size) -> Image.Image:
    """Scale a picture so that it covers this size, cropped around its centre; its ratio is kept."""
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize(size, Image.Resampling.LANCZOS, box)


def _read(path: Path) -> Image.Image:
    try:
        return Image.fromarray(decode(path.read_bytes()).pixels)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except PictureError as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> BackgroundUnreadable:
    return BackgroundUnreadable(f"the background {path} cannot be read: {why}; correct the output's background")
