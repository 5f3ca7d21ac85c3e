"""Photos that the bench draws, as files and as cut-outs. Needs the extra `bench` and `inference.synthetic`."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from inference.synthetic import Sample

QUALITY = 90
"""Quality of JPEG and WebP files, as cameras and shops use it."""
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


def draw_photos(folder: Path, size: tuple[int, int], count: int, format: str = "JPEG") -> list[Path]:
    """`count` different photos of this width and height; those that are in the folder already are not drawn again."""
    return [draw_photo(folder, size, seed, format) for seed in range(count)]


def draw_photo(folder: Path, size: tuple[int, int], seed: int, format: str = "JPEG") -> Path:
    """One photo as a file; the same size and seed give the same picture."""
    path = folder / f"{size[0]}x{size[1]}-{seed:04}.{SUFFIXES[format]}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_photo(draw_sample(size, seed).image, format))
    return path


@lru_cache(maxsize=4)
def draw_sample(size: tuple[int, int], seed: int) -> Sample:
    """A photo and its exact matte."""
    from inference.synthetic import render_sample  # an installed package comes without it

    return render_sample(np.random.default_rng([seed, *size]), size[1], size[0])


def encode_photo(pixels: NDArray[np.uint8], format: str) -> bytes:
    """Encode H x W x 3 sRGB pixels as a JPEG, PNG or WebP file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **({} if format == "PNG" else {"quality": QUALITY}))
    return file.getvalue()


def cutout_pixels(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A drawn cut-out, H x W x 4 with straight alpha, and black where alpha is 0 as the engine makes it."""
    drawn = draw_sample(size, seed)
    return np.dstack((drawn.image * (drawn.alpha > 0)[..., None], drawn.alpha))


def fill_folder(photos: Sequence[Path], folder: Path, count: int) -> Path:
    """Make a new folder of `count` files from the photos in turn, as hard links where the file system has them."""
    folder.mkdir(parents=True)
    for index in range(count):
        origin = photos[index % len(photos)]
        copy = folder / f"{index:05}{origin.suffix}"
        try:
            os.link(origin, copy)
        except OSError:  # another file system
            copy.write_bytes(origin.read_bytes())
    return folder
