"""What is measured with: drawn photos with exact mattes, as files and as cut-outs. Needs the extra `bench`."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.synthetic import Sample, render_sample

QUALITY = 90
"""Of JPEG and WebP, as cameras and shops use it."""
ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


def photos(folder: Path, size: tuple[int, int], count: int, format: str = "JPEG") -> list[Path]:
    """So many different photos of this width and height, drawn where they are not there yet."""
    return [photo(folder, size, seed, format) for seed in range(count)]


def photo(folder: Path, size: tuple[int, int], seed: int, format: str = "JPEG") -> Path:
    """One photo: same size and seed, same picture."""
    path = folder / f"{size[0]}x{size[1]}-{seed:04}.{ENDINGS[format]}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(sample(size, seed).image, format))
    return path


@lru_cache(maxsize=4)
def sample(size: tuple[int, int], seed: int) -> Sample:
    """A drawn photo and its matte."""
    return render_sample(np.random.default_rng([seed, *size]), size[1], size[0])


def encoded(pixels: NDArray[np.uint8], format: str) -> bytes:
    """H x W x 3 as a file's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **({} if format == "PNG" else {"quality": QUALITY}))
    return file.getvalue()


def cutout_pixels(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """H x W x 4, as the engine makes them: no colour where alpha is 0."""
    drawn = sample(size, seed)
    return np.dstack((drawn.image * (drawn.alpha > 0)[..., None], drawn.alpha))


def spread_out(photos: Sequence[Path], folder: Path, count: int) -> Path:
    """`count` files in a new `folder`, in turn from the photos; linked where that is possible, they cost no space."""
    folder.mkdir(parents=True)
    for index in range(count):
        origin = photos[index % len(photos)]
        copy = folder / f"{index:05}{origin.suffix}"
        try:
            os.link(origin, copy)
        except OSError:  # another filesystem
            copy.write_bytes(origin.read_bytes())
    return folder
