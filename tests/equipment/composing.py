"""Cut-outs for tests of outputs, and what a decoded output looks like."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.compose import NO_METADATA, Composed, OutputSpec, SourceMetadata, compose
from inference.picture import Cutout

TEXT = {"alphadrop:job": "a" * 64, "alphadrop:source": 'shoes/"left" & <right>\n 100% käse.jpg'}


def disc(width: int = 120, height: int = 90, radius: float = 30.0) -> Cutout:
    """A coloured disc with a soft edge in the middle of the frame; the hidden colour is a loud green."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    alpha = np.clip((radius - np.hypot(x - width / 2, y - height / 2)) / 3 + 0.5, 0, 1) * 255
    colour = np.stack([120 + x % 64, 60 + y % 64, np.full_like(x, 40)], axis=-1)
    colour[alpha < 1] = (0, 255, 0)
    return Cutout(np.dstack([colour, alpha]).astype(np.uint8))


def block(width: int, height: int, box: tuple[int, int, int, int], colour: tuple[int, ...] = (200, 40, 30)) -> Cutout:
    """An opaque rectangle (left, top, right, bottom) of one colour on a transparent frame."""
    pixels = np.zeros((height, width, 4), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = (*colour, 255)
    return Cutout(pixels)


def made(
    cutout: Cutout, source: SourceMetadata = NO_METADATA, text: dict[str, str] | None = None, **options: Any
) -> Composed:
    """Compose an output with these options."""
    return compose(cutout, OutputSpec(**options), source, text or {})


def opened(composed: Composed) -> NDArray[np.uint8]:
    """Decode an output with Pillow: H x W or H x W x C."""
    return np.asarray(Image.open(io.BytesIO(composed.data)))
