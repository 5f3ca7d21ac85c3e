"""Adds fur to a rendered object: hairs along its outline, and strands inside."""

import cv2
import numpy as np

from .contours import from_pixels, fur_hairs, hair_coverage
from .pixels import blur, multiply, to_bytes
from .sampling import Float, Rng, between
from .textures import noise


def add_fur(rng: Rng, rgb: Float, alpha: Float) -> tuple[Float, Float]:
    """Colours (size x size x 3) and alpha (size x size) with fur; the input colours must extend beyond the edge."""
    size = alpha.shape[0]
    length = between(rng, 0.015, 0.09)
    strands = noise(rng, size, size, between(rng, 40, 110), 2, between(rng, 1, 5))
    rgb = multiply(rgb, 1 + strands * np.float32(between(rng, 0.08, 0.3)))
    outlines, _ = cv2.findContours(to_bytes(alpha) // 128, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    soft = np.maximum(alpha, 0) if length < 0.03 else blur(alpha, length * size * 0.04)
    for outline in outlines:
        if len(outline) > 24:
            contour = from_pixels(outline[::3, 0].astype(np.float32) + 0.5, size)
            hairs = fur_hairs(rng, contour, int(len(outline) * between(rng, 0.5, 1.5)), length)
            soft = np.maximum(soft, hair_coverage(hairs, size))
    return rgb, soft
