"""Shadows and reflections that an object casts on its background, derived from its matte."""

import cv2
import numpy as np

from .pixels import blur, downsample, mix, upsample, warp
from .placement import Layer
from .sampling import Float, Rng, between, chance


def cast_shadow(rng: Rng, layer: Layer) -> Float:
    """Shadow strength 0..1, H x W: a soft contact shadow under the base, and a cast shadow on floor or wall."""
    height, width = layer.alpha.shape
    small = downsample(layer.alpha, max(2, height // 4), max(2, width // 4))
    rows, columns = small.shape
    floor = layer.floor / 4
    shade = np.zeros_like(small)
    if layer.stands and chance(rng, 0.8):  # contact: the lowest part of the object, flattened
        near = small[max(0, int(floor) - rows // 8) : int(floor) + 1].max(axis=0) if floor > 1 else small[0]
        reach = np.flatnonzero(near > 0.5)
        if len(reach) > 1:
            half = (reach[-1] - reach[0]) / 2
            axes = (round(half * between(rng, 0.9, 1.15)) + 1, round(half * between(rng, 0.03, 0.2)) + 1)
            middle = (round((reach[-1] + reach[0]) / 2), round(floor - axes[1] * between(rng, 0, 0.5)))
            cv2.ellipse(shade, middle, axes, 0, 0, 360, between(rng, 0.3, 1.0), -1)
            shade = blur(shade, columns * between(rng, 0.008, 0.04))
    if chance(rng, 0.55):
        squash = between(rng, -0.1, 0.6) if layer.stands and chance(rng, 0.7) else 1.0
        lean = rng.normal(0, 0.7) if squash < 1 else 0.0
        drop = 0.0 if squash < 1 else between(rng, 0.0, 0.06) * rows
        sideways = lean * floor + rng.normal(0, 0.03) * columns
        matrix = np.array([[1, -lean, sideways], [0, squash, floor * (1 - squash) + drop]])
        thrown = warp(small, matrix)
        thrown = blur(thrown, columns * between(rng, 0.006, 0.06))
        shade = np.maximum(shade, thrown * np.float32(between(rng, 0.1, 0.9)))
    return upsample(shade, height, width)


def add_reflection(rng: Rng, background: Float, layer: Layer) -> Float:
    """Draw a fading reflection below the object's base onto the background."""
    height, _ = layer.alpha.shape
    mirror = np.array([[1, 0, 0], [0, -1, 2 * layer.floor]], np.float32)
    alpha = warp(layer.alpha, mirror)
    rgb = warp(layer.rgb, mirror, extend=True)
    depth = (np.arange(height, dtype=np.float32) - layer.floor) / height
    fade = np.clip(1 - depth * np.float32(between(rng, 1.5, 6)), 0, 1) * np.float32(between(rng, 0.08, 0.4))
    weight = blur(alpha, between(rng, 0.6, 3)) * fade[:, None]
    return mix(background, rgb, weight)
