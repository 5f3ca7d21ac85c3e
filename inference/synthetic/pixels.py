"""Whole-picture arithmetic. Planes are H x W, pictures H x W x 3, float32 with 0..1 for black to white.

OpenCV does these several times faster than broadcasting a plane over the three channels of a picture.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .contours import Float

Bytes = NDArray[np.uint8]


@lru_cache(maxsize=32)
def grid(height: int, width: int) -> tuple[Float, Float]:
    """Pixel coordinates (x, y), each H x W, scaled so that the longer side is 1."""
    longest = max(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(longest)
    return x, y


def filled(tint: Float, height: int, width: int) -> Float:
    """One colour as a writable, contiguous picture."""
    dot = np.asarray(tint, np.float32).reshape(1, 1, 3)
    return np.asarray(cv2.resize(dot, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def mix(a: Float, b: Float, t: Float) -> Float:
    """Blend two colours (or pictures) by an H x W weight 0..1."""
    t = np.asarray(t, np.float32)
    if a.ndim == 1 and b.ndim == 1:
        return np.asarray(cv2.transform(t[..., None], np.stack((b - a, a), axis=1)), np.float32)
    height, width = t.shape
    first, second = (filled(p, height, width) if p.ndim == 1 else p for p in (a, b))
    return np.asarray(cv2.blendLinear(first, second, 1 - t, t), np.float32)


def times(picture: Float, factor: Float) -> Float:
    """A picture (or one colour) times an H x W factor; OpenCV is several times faster here than broadcasting."""
    factor = np.asarray(factor, np.float32)
    if picture.ndim == 1:
        return np.asarray(cv2.transform(factor[..., None], picture.reshape(3, 1)), np.float32)
    return np.asarray(cv2.multiply(picture, spread(factor)), np.float32)


def spread(plane: Float) -> Float:
    """H x W to H x W x 3."""
    return np.asarray(cv2.merge((plane, plane, plane)), np.float32)


def to_bytes(picture: Float) -> Bytes:
    """0..1 to 0..255, rounded and saturated."""
    return np.asarray(cv2.addWeighted(picture, 255, picture, 0, 0, dtype=cv2.CV_8U), np.uint8)


def to_floats(picture: Bytes) -> Float:
    """0..255 to 0..1."""
    return np.asarray(cv2.addWeighted(picture, 1 / 255, picture, 0, 0, dtype=cv2.CV_32F), np.float32)


def blur(picture: Float, sigma: float) -> Float:
    """Gaussian blur, sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def enlarged(picture: Float, height: int, width: int, smooth: bool = False) -> Float:
    """Resize upwards, linear or (smooth) cubic."""
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.float32)


def reduced(picture: Float, height: int, width: int) -> Float:
    """Resize downwards, averaging what falls into a pixel."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def warped(picture: Float, matrix: NDArray[np.floating], extend: bool = False) -> Float:
    """An affine warp (2 x 3, source to target) of the same size; outside is 0 or (extend) the nearest edge."""
    height, width = picture.shape[:2]
    border = cv2.BORDER_REPLICATE if extend else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=border), np.float32)
