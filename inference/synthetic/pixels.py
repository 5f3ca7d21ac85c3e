"""Arithmetic on whole pictures. Planes are H x W, pictures H x W x 3, both float32 in 0..1.

OpenCV is several times faster here than numpy, which would broadcast a plane over the three channels of a picture.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .sampling import Float

Bytes = NDArray[np.uint8]


@lru_cache(maxsize=32)
def grid(height: int, width: int) -> tuple[Float, Float]:
    """Pixel coordinates (x, y), each H x W, scaled so that the longer side is 1."""
    longest = max(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(longest)
    return x, y


def filled(tint: Float, height: int, width: int) -> Float:
    """A writable, contiguous picture of one colour."""
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


def multiply(picture: Float, factor: Float) -> Float:
    """A picture (or one colour) times an H x W factor."""
    factor = np.asarray(factor, np.float32)
    if picture.ndim == 1:
        return np.asarray(cv2.transform(factor[..., None], picture.reshape(3, 1)), np.float32)
    return np.asarray(cv2.multiply(picture, to_rgb(factor)), np.float32)


def to_rgb(plane: Float) -> Float:
    """Repeat a plane, H x W, in three channels, H x W x 3."""
    return np.asarray(cv2.merge((plane, plane, plane)), np.float32)


def to_bytes(picture: Float) -> Bytes:
    """Convert 0..1 to 0..255, rounded and saturated."""
    return np.asarray(cv2.addWeighted(picture, 255, picture, 0, 0, dtype=cv2.CV_8U), np.uint8)


def to_floats(picture: Bytes) -> Float:
    """Convert 0..255 to 0..1."""
    return np.asarray(cv2.addWeighted(picture, 1 / 255, picture, 0, 0, dtype=cv2.CV_32F), np.float32)


def blur(picture: Float, sigma: float) -> Float:
    """Gaussian blur, sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def upsample(picture: Float, height: int, width: int, smooth: bool = False) -> Float:
    """Enlarge with linear or, if smooth, cubic interpolation."""
    how = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.float32)


def downsample(picture: Float, height: int, width: int) -> Float:
    """Reduce with area averaging."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def warp(picture: Float, matrix: NDArray[np.floating], extend: bool = False) -> Float:
    """Warp by an affine 2 x 3 matrix (source to target); outside is 0 or, if `extend`, the nearest edge."""
    height, width = picture.shape[:2]
    border = cv2.BORDER_REPLICATE if extend else cv2.BORDER_CONSTANT
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=border), np.float32)
