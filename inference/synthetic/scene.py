"""Put objects on backgrounds with the shadows they cast, and stream the results."""

from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .camera import photograph, tone
from .contours import Float, Rng, between, chance
from .drawn_object import DrawnObject
from .pixels import blur, enlarged, grid, mix, times, to_bytes, to_floats
from .placing import Layer, placed_layers, together
from .repertoire import DRAWN, EVERYTHING, Repertoire
from .shadows import cast_shadow, reflected

# The streams feed training on the same cores: a thread pool per OpenCV call would fight with it.
cv2.setNumThreads(1)


@dataclass(frozen=True)
class Sample:
    """A picture and its exact matte."""

    image: NDArray[np.uint8]  # H x W x 3, sRGB, RGB order
    alpha: NDArray[np.uint8]  # H x W, 0..255


def _match(rng: Rng, layer: Layer, ground: Float) -> Float:
    """White on white, black on black: move the object's mean colour close to the background's."""
    weight = layer.alpha[::4, ::4, None]
    mean = (layer.rgb[::4, ::4] * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1.0)
    goal = ground[::8, ::8].mean(axis=(0, 1)) + rng.normal(0, 0.03, 3) - between(rng, 0, 0.08)
    return np.asarray((layer.rgb - mean) * between(rng, 0.4, 0.9) + goal, np.float32)


def _crowded(rng: Rng, ground: Float, cutouts: list[DrawnObject], show: Repertoire) -> Float:
    """The ground with things out of focus in front of it: far behind the object, so they belong to the background."""
    height, width = ground.shape[:2]
    far = replace(show, close=0.0, fullest=0.6)
    for layer in placed_layers(rng, cutouts, height, width, far):
        ground = _compose(rng, ground, layer, show.alike)
    return blur(ground, max(height, width) * between(rng, 0.015, 0.04))


def _ramp(rng: Rng, height: int, width: int) -> Float:
    """Light that falls off across the frame."""
    x, y = grid(height, width)
    ramp: Float = 1 + np.float32(rng.normal(0, 0.35)) * (x - 0.5) + np.float32(rng.normal(0, 0.35)) * (y - 0.5)
    return ramp


def _compose(rng: Rng, ground: Float, layer: Layer, alike: float) -> Float:
    rgb = layer.rgb
    if chance(rng, 0.4):
        rgb = tone(rng, rgb, 1.0)
    if chance(rng, 0.12):  # another hue altogether for an object that the pool has shown before
        rgb = np.ascontiguousarray(rgb[..., rng.permutation(3)])
    if chance(rng, 0.3):
        rgb = times(rgb, _ramp(rng, *layer.alpha.shape))
    if chance(rng, alike):
        rgb = _match(rng, layer, ground)
    if layer.stands and chance(rng, 0.12):
        ground = reflected(rng, ground, layer)
    if chance(rng, 0.7):
        strength = np.float32(between(rng, 0.15, 0.85))
        shadow = layer.shadow if layer.shadow is not None else cast_shadow(rng, layer)
        ground = times(ground, 1 - strength * shadow)
    return mix(ground, _distinct(np.clip(rgb, 0, 1), ground, layer.alpha), layer.alpha)


def _distinct(rgb: Float, ground: Float, alpha: Float) -> Float:
    """The object's colours, moved away from the background's where nobody could tell the two apart."""
    inside = alpha[::3, ::3] > 0.9
    if not inside.any():
        return rgb
    seen = rgb[::3, ::3][inside]
    behind = ground[::3, ::3][inside]
    visible = float((np.abs(seen - behind).max(axis=1) > 0.04).mean())
    if visible > 0.5:
        return rgb
    return rgb * np.float32(0.86) if float(behind.mean()) > 0.3 else rgb * np.float32(1.3) + np.float32(0.09)


def _picture(rng: Rng, cutouts: list[DrawnObject], ground: Float, show: Repertoire) -> Sample | None:
    """The finished sample; None where no placement of these objects gave a usable one."""
    height, width = ground.shape[:2]
    if chance(rng, 0.3):
        ground = np.clip(tone(rng, ground, 0.7), 0, 1)
    alpha = np.zeros((height, width), np.float32)
    if cutouts:
        layers = placed_layers(rng, cutouts, height, width, show)
        if not layers:
            return None
        for layer in layers:
            ground = _compose(rng, ground, layer, show.alike)
        alpha = together(layers)
    return Sample(photograph(rng, ground), to_bytes(alpha))


def _count(rng: Rng, empty: float) -> int:
    if chance(rng, empty):
        return 0
    return int(rng.integers(2, 4)) if chance(rng, 0.12) else 1


def _object_size(height: int, width: int) -> int:
    return int(np.clip(max(height, width), 192, 512))


def render_sample(rng: np.random.Generator, height: int, width: int, show: Repertoire = DRAWN) -> Sample:
    """A height x width sample with every part drawn afresh; the same generator state gives the same sample."""
    count = _count(rng, show.empty)
    while True:
        cutouts = [show.render(rng, _object_size(height, width)) for _ in range(count)]
        sample = _picture(rng, cutouts, show.background(rng, height, width), show)
        if sample is not None:
            return sample


class SampleStream:
    """Endless samples; recombines a pool of recent objects and backgrounds, since rendering is dearer than warping."""

    def __init__(self, seed: int, fresh: float = 0.35, pool: int = 128, show: Repertoire = EVERYTHING) -> None:
        """`fresh` is the chance of a newly drawn object or background, `pool` how many of each are kept."""
        self._rng = np.random.default_rng(seed)
        self._fresh = fresh
        self._show = show
        self._objects: deque[DrawnObject] = deque(maxlen=pool)
        self._grounds: deque[NDArray[np.uint8]] = deque(maxlen=pool)

    def next(self, height: int, width: int) -> Sample:
        """The next height x width sample."""
        count = _count(self._rng, self._show.empty)
        while True:
            cutouts = [self._object(height, width) for _ in range(count)]
            ground = self._ground(height, width)
            if self._show.crowded and chance(self._rng, self._show.crowded):
                ground = _crowded(self._rng, ground, self._some(), self._show)
            sample = _picture(self._rng, cutouts, ground, self._show)
            if sample is not None:
                return sample

    def _stale(self, kept: int, limit: int | None) -> bool:
        """Whether to draw afresh: always while the pool is small."""
        return kept < min(limit or 1, 8) or chance(self._rng, self._fresh)

    def _some(self) -> list[DrawnObject]:
        """A few of the objects that were shown lately."""
        kept, count = len(self._objects), int(self._rng.integers(2, 5))
        return [self._objects[int(self._rng.integers(kept))] for _ in range(count if kept else 0)]

    def _object(self, height: int, width: int) -> DrawnObject:
        if not self._stale(len(self._objects), self._objects.maxlen):
            return self._objects[int(self._rng.integers(len(self._objects)))]
        cutout = self._show.render(self._rng, _object_size(height, width))
        self._objects.append(cutout)
        return cutout

    def _ground(self, height: int, width: int) -> Float:
        rng = self._rng
        if self._stale(len(self._grounds), self._grounds.maxlen):
            ground = self._show.background(rng, height, width)
            self._grounds.append(to_bytes(ground))
            return ground
        kept = self._grounds[int(rng.integers(len(self._grounds)))]
        kept = kept[:, ::-1] if chance(rng, 0.5) else kept
        rows, columns = kept.shape[:2]
        crop = between(rng, 0.7, 1.0)
        h, w = max(1, int(rows * crop)), max(1, int(columns * crop))
        y, x = int(rng.integers(rows - h + 1)), int(rng.integers(columns - w + 1))
        cut = np.ascontiguousarray(kept[y : y + h, x : x + w])
        return enlarged(to_floats(cut), height, width)
