"""Composes objects, shadows and backgrounds into pictures with exact mattes, and streams them."""

from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import photograph, tone
from .content_mix import DRAWN, EVERYTHING, ContentMix
from .drawn_object import DrawnObject
from .pixels import blur, grid, mix, multiply, to_bytes, to_floats, upsample
from .placement import Layer, combined_alpha, place_objects
from .sampling import Float, Rng, between, chance
from .shadows import add_reflection, cast_shadow

# Streams run on the same cores as training, which OpenCV's own thread pool would slow down.
cv2.setNumThreads(1)


@dataclass(frozen=True)
class Sample:
    """A picture and its exact matte."""

    image: NDArray[np.uint8]  # H x W x 3, sRGB, RGB order
    alpha: NDArray[np.uint8]  # H x W, 0..255


def _match_background(rng: Rng, layer: Layer, background: Float) -> Float:
    """Shift the object's mean colour close to the background's, for white on white and black on black."""
    weight = layer.alpha[::4, ::4, None]
    mean = (layer.rgb[::4, ::4] * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1.0)
    goal = background[::8, ::8].mean(axis=(0, 1)) + rng.normal(0, 0.03, 3) - between(rng, 0, 0.08)
    return np.asarray((layer.rgb - mean) * between(rng, 0.4, 0.9) + goal, np.float32)


def _add_distant_objects(rng: Rng, background: Float, cutouts: list[DrawnObject], content: ContentMix) -> Float:
    """Add blurred objects to the background, far behind the object and therefore not part of the matte."""
    height, width = background.shape[:2]
    far = replace(content, close=0.0, fullest=0.6)
    for layer in place_objects(rng, cutouts, height, width, far):
        background = _add_layer(rng, background, layer, content.alike)
    return blur(background, max(height, width) * between(rng, 0.015, 0.04))


def _light_falloff(rng: Rng, height: int, width: int) -> Float:
    """Factors of light that changes linearly across the frame, H x W."""
    x, y = grid(height, width)
    ramp: Float = 1 + np.float32(rng.normal(0, 0.35)) * (x - 0.5) + np.float32(rng.normal(0, 0.35)) * (y - 0.5)
    return ramp


def _add_layer(rng: Rng, background: Float, layer: Layer, alike: float) -> Float:
    rgb = layer.rgb
    if chance(rng, 0.4):
        rgb = tone(rng, rgb, 1.0)
    if chance(rng, 0.12):  # a different hue for an object of the pool that was shown before
        rgb = np.ascontiguousarray(rgb[..., rng.permutation(3)])
    if chance(rng, 0.3):
        rgb = multiply(rgb, _light_falloff(rng, *layer.alpha.shape))
    if chance(rng, alike):
        rgb = _match_background(rng, layer, background)
    if layer.stands and chance(rng, 0.12):
        background = add_reflection(rng, background, layer)
    if chance(rng, 0.7):
        strength = np.float32(between(rng, 0.15, 0.85))
        shadow = layer.shadow if layer.shadow is not None else cast_shadow(rng, layer)
        background = multiply(background, 1 - strength * shadow)
    return mix(background, _keep_distinct(np.clip(rgb, 0, 1), background, layer.alpha), layer.alpha)


def _keep_distinct(rgb: Float, background: Float, alpha: Float) -> Float:
    """Change the object's colours where they could not be distinguished from the background's."""
    inside = alpha[::3, ::3] > 0.9
    if not inside.any():
        return rgb
    seen = rgb[::3, ::3][inside]
    behind = background[::3, ::3][inside]
    visible = float((np.abs(seen - behind).max(axis=1) > 0.04).mean())
    if visible > 0.5:
        return rgb
    return rgb * np.float32(0.86) if float(behind.mean()) > 0.3 else rgb * np.float32(1.3) + np.float32(0.09)


def _compose_sample(rng: Rng, cutouts: list[DrawnObject], background: Float, content: ContentMix) -> Sample | None:
    """Compose a scene and render it as through a camera; None if its objects could not be placed."""
    height, width = background.shape[:2]
    if chance(rng, 0.3):
        background = np.clip(tone(rng, background, 0.7), 0, 1)
    alpha = np.zeros((height, width), np.float32)
    if cutouts:
        layers = place_objects(rng, cutouts, height, width, content)
        if not layers:
            return None
        for layer in layers:
            background = _add_layer(rng, background, layer, content.alike)
        alpha = combined_alpha(layers)
    return Sample(photograph(rng, background), to_bytes(alpha))


def _count(rng: Rng, empty: float) -> int:
    if chance(rng, empty):
        return 0
    return int(rng.integers(2, 4)) if chance(rng, 0.12) else 1


def _object_size(height: int, width: int) -> int:
    return int(np.clip(max(height, width), 192, 512))


def render_sample(rng: np.random.Generator, height: int, width: int, content: ContentMix = DRAWN) -> Sample:
    """Draw a height x width sample; the same generator state gives the same sample."""
    count = _count(rng, content.empty)
    while True:
        cutouts = [content.render(rng, _object_size(height, width)) for _ in range(count)]
        sample = _compose_sample(rng, cutouts, content.background(rng, height, width), content)
        if sample is not None:
            return sample


class SampleStream:
    """Endless samples from a pool of recent objects and backgrounds, because rendering costs more than warping."""

    def __init__(self, seed: int, fresh: float = 0.35, pool: int = 128, content: ContentMix = EVERYTHING) -> None:
        """`fresh` is the chance that an object or background is newly drawn, `pool` the number of each that is kept."""
        self._rng = np.random.default_rng(seed)
        self._fresh = fresh
        self._content = content
        self._objects: deque[DrawnObject] = deque(maxlen=pool)
        self._backgrounds: deque[NDArray[np.uint8]] = deque(maxlen=pool)

    def next(self, height: int, width: int) -> Sample:
        """The next height x width sample."""
        count = _count(self._rng, self._content.empty)
        while True:
            cutouts = [self._object(height, width) for _ in range(count)]
            background = self._background(height, width)
            if self._content.crowded and chance(self._rng, self._content.crowded):
                background = _add_distant_objects(self._rng, background, self._recent_objects(), self._content)
            sample = _compose_sample(self._rng, cutouts, background, self._content)
            if sample is not None:
                return sample

    def _draws_afresh(self, kept: int, limit: int | None) -> bool:
        """Whether to draw a new object or background; always true while the pool is small."""
        return kept < min(limit or 1, 8) or chance(self._rng, self._fresh)

    def _recent_objects(self) -> list[DrawnObject]:
        """Two to four random objects of the pool."""
        kept, count = len(self._objects), int(self._rng.integers(2, 5))
        return [self._objects[int(self._rng.integers(kept))] for _ in range(count if kept else 0)]

    def _object(self, height: int, width: int) -> DrawnObject:
        if not self._draws_afresh(len(self._objects), self._objects.maxlen):
            return self._objects[int(self._rng.integers(len(self._objects)))]
        cutout = self._content.render(self._rng, _object_size(height, width))
        self._objects.append(cutout)
        return cutout

    def _background(self, height: int, width: int) -> Float:
        rng = self._rng
        if self._draws_afresh(len(self._backgrounds), self._backgrounds.maxlen):
            background = self._content.background(rng, height, width)
            self._backgrounds.append(to_bytes(background))
            return background
        kept = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
        kept = kept[:, ::-1] if chance(rng, 0.5) else kept
        rows, columns = kept.shape[:2]
        crop = between(rng, 0.7, 1.0)
        h, w = max(1, int(rows * crop)), max(1, int(columns * crop))
        y, x = int(rng.integers(rows - h + 1)), int(rng.integers(columns - w + 1))
        cut = np.ascontiguousarray(kept[y : y + h, x : x + w])
        return upsample(to_floats(cut), height, width)
