"""Simulates a camera and JPEG compression. Input pictures are float32 H x W x 3 in 0..1, sRGB."""

import cv2
import numpy as np

from .pixels import Bytes, blur, downsample, grid, multiply, to_bytes, to_rgb, upsample
from .sampling import Float, Rng, between, chance


def tone(rng: Rng, picture: Float, strength: float) -> Float:
    """Change white balance, brightness, contrast and saturation at random; `strength` 0..1."""
    matrix = np.zeros((3, 4))  # all changes are one affine map of the colour, which needs one pass over the picture
    gain = np.exp(rng.normal(0, 0.09 * strength, 3) + rng.normal(0, 0.15 * strength))
    # Bright pictures get no brighter: an overexposed object on an overexposed background has no visible edge.
    bright = float(picture[::8, ::8].mean()) > 0.7
    matrix[:, :3] = np.diag(np.minimum(gain, 1.03) if bright else gain)
    if chance(rng, 0.5):
        keep = between(rng, 1 - 0.6 * strength, 1 + 0.4 * strength)
        matrix = (np.eye(3) * keep + (1 - keep) / 3) @ matrix
    if chance(rng, 0.5):
        contrast = between(rng, 1 - 0.35 * strength, 1 + 0.25 * strength)
        matrix = matrix * contrast
        matrix[:, 3] += (1 - contrast) * (0.9 if bright else 0.5)
    return np.asarray(cv2.transform(picture, matrix.astype(np.float32)), np.float32)


def _optics(rng: Rng, picture: Float) -> Float:
    height, width = picture.shape[:2]
    if chance(rng, 0.2):
        x, y = grid(height, width)
        far = (x - 0.5 * width / max(height, width)) ** 2 + (y - 0.5 * height / max(height, width)) ** 2
        picture = multiply(picture, 1 - np.float32(between(rng, 0.1, 0.9)) * far)
    kind = rng.random()
    if kind < 0.3:
        picture = blur(picture, between(rng, 0.3, 1.1))
    elif kind < 0.36:
        length, angle = int(rng.integers(3, 7)), rng.random() * 3.14
        kernel = np.zeros((7, 7), np.float32)
        dx, dy = np.cos(angle) * length / 2, np.sin(angle) * length / 2
        cv2.line(kernel, (round(3 - dx), round(3 - dy)), (round(3 + dx), round(3 + dy)), 1.0, 1, cv2.LINE_AA)
        picture = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.float32)
    elif kind < 0.46:
        f = between(rng, 0.45, 0.85)
        small = downsample(picture, max(8, round(height * f)), max(8, round(width * f)))
        picture = upsample(small, height, width, smooth=True)
    if chance(rng, 0.15):
        soft = blur(picture, between(rng, 0.8, 2))
        picture = picture + (picture - soft) * np.float32(between(rng, 0.3, 1.2))
    return picture


def _grain(rng: Rng, picture: Float) -> Float:
    height, width = picture.shape[:2]
    level = 10 ** between(rng, -2.7, -1.45)
    luma = rng.standard_normal((height, width), dtype=np.float32)
    if chance(rng, 0.3):
        luma = blur(luma, 0.7) * np.float32(2)
    noisy = picture + to_rgb(luma * np.float32(level))
    if chance(rng, 0.5):
        chroma = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32) * np.float32(level)
        noisy = noisy + upsample(chroma, height, width)
    return noisy


def _jpeg(rng: Rng, picture: Bytes) -> Bytes:
    quality = int(rng.integers(40, 96))
    done, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise RuntimeError("OpenCV could not encode a picture as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def photograph(rng: Rng, picture: Float) -> Bytes:
    """Apply tone, optics, noise and compression; one picture in seven stays clean. Returns H x W x 3 bytes."""
    clean = chance(rng, 0.14)
    if not clean:
        picture = tone(rng, picture, 0.8) if chance(rng, 0.5) else picture
        picture = _optics(rng, picture)
        picture = _grain(rng, picture) if chance(rng, 0.55) else picture
    if chance(rng, 0.25):
        picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.25)))
    if chance(rng, 0.03):
        picture = to_rgb(picture.mean(axis=2))
    final = to_bytes(picture)
    return _jpeg(rng, final) if not clean and chance(rng, 0.68) else final
