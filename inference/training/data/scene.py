"""Put objects on backgrounds with the shadows they cast, and stream the results."""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .backgrounds import render_background
from .camera import photograph, tone
from .contours import Float, Rng, between, chance
from .objects import Cutout, render_object
from .pixels import Bytes, blur, enlarged, grid, mix, reduced, times, to_bytes, to_floats, warped
from .textures import noise

# The streams feed training on the same cores: a thread pool per OpenCV call would fight with it.
cv2.setNumThreads(1)

_MIN_SHARE, _MAX_SHARE = 0.007, 0.93
_NEGATIVES = 0.025


@dataclass(frozen=True)
class Sample:
    """A picture and its exact matte."""

    image: NDArray[np.uint8]  # H x W x 3, sRGB, RGB order
    alpha: NDArray[np.uint8]  # H x W, 0..255


@dataclass(frozen=True)
class _Layer:
    """An object warped into the frame."""

    rgb: Float  # H x W x 3
    alpha: Float  # H x W, 0..1
    floor: float  # the y of the lowest point, in pixels
    stands: bool


def _placement(rng: Rng, cutout: Cutout, height: int, width: int, scale: float) -> NDArray[np.float64]:
    """The 2 x 3 matrix from the cut-out's pixels to the frame's."""
    rows, columns = cutout.alpha.shape
    fit = scale * min(height / rows, width / columns)
    stretch = np.exp(rng.normal(0, 0.1))
    flip = -1.0 if chance(rng, 0.5) else 1.0
    turn = rng.normal(0, 3) if cutout.stands or cutout.cut_below else rng.normal(0, 15)
    a = np.deg2rad(turn if chance(rng, 0.94) or cutout.cut_below else between(rng, -180, 180))
    size = np.diag([fit * stretch * flip, fit / stretch])
    linear = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ size
    reach = np.abs(linear) @ np.array([columns, rows]) / 2
    spread = 0.45 if chance(rng, 0.8) else 1.3
    free = np.abs(np.array([width, height]) / 2 - reach) + 0.05 * min(width, height) * (spread > 1)
    centre = np.array([width, height]) / 2 + np.clip(rng.normal(0, 0.5, 2), -1, 1) * spread * free
    if cutout.cut_below:
        sunk = height - reach[1] + 3 + abs(rng.normal(0, 0.06)) * height
        centre[1] = max(sunk, reach[1] + rng.normal(0.03, 0.04) * height)  # a close portrait keeps its head
    shift = centre - linear @ np.array([columns, rows]) / 2
    return np.concatenate((linear, shift[:, None]), axis=1)


def _warp(rng: Rng, cutout: Cutout, height: int, width: int, scale: float) -> _Layer:
    rgb, alpha = cutout.rgb, cutout.alpha
    shrink = scale * min(height / alpha.shape[0], width / alpha.shape[1])
    if shrink < 0.6:  # a bilinear warp alone would alias
        half = (max(2, round(alpha.shape[1] * shrink)), max(2, round(alpha.shape[0] * shrink)))
        rgb, alpha = (np.asarray(cv2.resize(p, half, interpolation=cv2.INTER_AREA), np.uint8) for p in (rgb, alpha))
    matrix = _placement(rng, Cutout(rgb, alpha, cutout.stands, cutout.cut_below), height, width, scale)
    frame = (width, height)
    picture = np.asarray(cv2.warpAffine(rgb, matrix, frame, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    matte = np.asarray(cv2.warpAffine(alpha, matrix, frame), np.uint8)
    if chance(rng, 0.2):
        picture, matte = _bend(rng, picture, matte)
    rows = np.flatnonzero(matte.max(axis=1) > 127)
    floor = float(rows[-1]) if len(rows) else float(height)
    return _Layer(to_floats(picture), to_floats(matte), floor, cutout.stands)


def _bend(rng: Rng, rgb: Bytes, alpha: Bytes) -> tuple[Bytes, Bytes]:
    height, width = alpha.shape
    amount = np.float32(min(height, width) * between(rng, 0.01, 0.05))
    map_x = np.arange(width, dtype=np.float32) + amount * noise(rng, height, width, 3, 1)
    map_y = np.arange(height, dtype=np.float32)[:, None] + amount * noise(rng, height, width, 3, 1)
    bent = cv2.remap(rgb, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.uint8), np.asarray(cv2.remap(alpha, map_x, map_y, cv2.INTER_LINEAR), np.uint8)


def _cast(rng: Rng, layer: _Layer) -> Float:
    """Shadow strength 0..1 (H x W): a soft one under the base, one thrown on floor or wall."""
    height, width = layer.alpha.shape
    small = reduced(layer.alpha, max(2, height // 4), max(2, width // 4))
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
        thrown = warped(small, matrix)
        thrown = blur(thrown, columns * between(rng, 0.006, 0.06))
        shade = np.maximum(shade, thrown * np.float32(between(rng, 0.1, 0.9)))
    return enlarged(shade, height, width)


def _reflect(rng: Rng, ground: Float, layer: _Layer) -> Float:
    """A fading mirror image below the object's base."""
    height, _ = layer.alpha.shape
    mirror = np.array([[1, 0, 0], [0, -1, 2 * layer.floor]], np.float32)
    alpha = warped(layer.alpha, mirror)
    rgb = warped(layer.rgb, mirror, extend=True)
    depth = (np.arange(height, dtype=np.float32) - layer.floor) / height
    fade = np.clip(1 - depth * np.float32(between(rng, 1.5, 6)), 0, 1) * np.float32(between(rng, 0.08, 0.4))
    weight = blur(alpha, between(rng, 0.6, 3)) * fade[:, None]
    return mix(ground, rgb, weight)


def _match(rng: Rng, layer: _Layer, ground: Float) -> Float:
    """White on white, black on black: move the object's mean colour close to the background's."""
    weight = layer.alpha[::4, ::4, None]
    mean = (layer.rgb[::4, ::4] * weight).sum(axis=(0, 1)) / max(float(weight.sum()), 1.0)
    goal = ground[::8, ::8].mean(axis=(0, 1)) + rng.normal(0, 0.03, 3) - between(rng, 0, 0.08)
    return np.asarray((layer.rgb - mean) * between(rng, 0.4, 0.9) + goal, np.float32)


def _ramp(rng: Rng, height: int, width: int) -> Float:
    """Light that falls off across the frame."""
    x, y = grid(height, width)
    ramp: Float = 1 + np.float32(rng.normal(0, 0.35)) * (x - 0.5) + np.float32(rng.normal(0, 0.35)) * (y - 0.5)
    return ramp


def _compose(rng: Rng, ground: Float, layer: _Layer) -> Float:
    rgb = layer.rgb
    if chance(rng, 0.4):
        rgb = tone(rng, rgb, 1.0)
    if chance(rng, 0.12):  # another hue altogether for an object that the pool has shown before
        rgb = np.ascontiguousarray(rgb[..., rng.permutation(3)])
    if chance(rng, 0.3):
        rgb = times(rgb, _ramp(rng, *layer.alpha.shape))
    if chance(rng, 0.14):
        rgb = _match(rng, layer, ground)
    if layer.stands and chance(rng, 0.12):
        ground = _reflect(rng, ground, layer)
    if chance(rng, 0.7):
        strength = np.float32(between(rng, 0.15, 0.85))
        ground = times(ground, 1 - strength * _cast(rng, layer))
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


def _scale(rng: Rng, cutout: Cutout, several: bool) -> float:
    """The cut-out's size as a part of the largest that fits into the frame."""
    if several:
        return between(rng, 0.3, 0.65)
    if cutout.cut_below:
        return between(rng, 0.6, 1.5)
    kind = rng.random()
    if kind < 0.2:
        return between(rng, 0.3, 0.6)
    return between(rng, 0.6, 1.02) if kind < 0.85 else between(rng, 1.0, 1.5)


def _layers(rng: Rng, cutouts: list[Cutout], height: int, width: int) -> list[_Layer]:
    """One or several objects, of a size that leaves neither a speck nor a filled frame."""
    several = len(cutouts) > 1
    for attempt in range(6):
        layers = [_warp(rng, c, height, width, _scale(rng, c, several) + 0.1 * attempt) for c in cutouts]
        if _MIN_SHARE < float(_together(layers).mean()) < _MAX_SHARE:
            return layers
    return []


def _together(layers: list[_Layer]) -> Float:
    clear = np.ones_like(layers[0].alpha)
    for layer in layers:
        clear = clear * (1 - layer.alpha)
    return np.asarray(1 - clear, np.float32)


def _picture(rng: Rng, cutouts: list[Cutout], ground: Float) -> Sample | None:
    """The finished sample; None where no placement of these objects gave a usable one."""
    height, width = ground.shape[:2]
    if chance(rng, 0.3):
        ground = np.clip(tone(rng, ground, 0.7), 0, 1)
    alpha = np.zeros((height, width), np.float32)
    if cutouts:
        layers = _layers(rng, cutouts, height, width)
        if not layers:
            return None
        for layer in layers:
            ground = _compose(rng, ground, layer)
        alpha = _together(layers)
    return Sample(photograph(rng, ground), to_bytes(alpha))


def _count(rng: Rng) -> int:
    if chance(rng, _NEGATIVES):
        return 0
    return int(rng.integers(2, 4)) if chance(rng, 0.12) else 1


def _object_size(height: int, width: int) -> int:
    return int(np.clip(max(height, width), 192, 512))


def render_sample(rng: np.random.Generator, height: int, width: int) -> Sample:
    """A height x width sample with every part drawn afresh; the same generator state gives the same sample."""
    count = _count(rng)
    while True:
        cutouts = [render_object(rng, _object_size(height, width)) for _ in range(count)]
        sample = _picture(rng, cutouts, render_background(rng, height, width))
        if sample is not None:
            return sample


class SampleStream:
    """Endless samples; recombines a pool of recent objects and backgrounds, since rendering is dearer than warping."""

    def __init__(self, seed: int, fresh: float = 0.35, pool: int = 128) -> None:
        """`fresh` is the chance of a newly drawn object or background, `pool` how many of each are kept."""
        self._rng = np.random.default_rng(seed)
        self._fresh = fresh
        self._objects: deque[Cutout] = deque(maxlen=pool)
        self._grounds: deque[NDArray[np.uint8]] = deque(maxlen=pool)

    def next(self, height: int, width: int) -> Sample:
        """The next height x width sample."""
        count = _count(self._rng)
        while True:
            cutouts = [self._object(height, width) for _ in range(count)]
            sample = _picture(self._rng, cutouts, self._ground(height, width))
            if sample is not None:
                return sample

    def _stale(self, kept: int, limit: int | None) -> bool:
        """Whether to draw afresh: always while the pool is small."""
        return kept < min(limit or 1, 8) or chance(self._rng, self._fresh)

    def _object(self, height: int, width: int) -> Cutout:
        if not self._stale(len(self._objects), self._objects.maxlen):
            return self._objects[int(self._rng.integers(len(self._objects)))]
        cutout = render_object(self._rng, _object_size(height, width))
        self._objects.append(cutout)
        return cutout

    def _ground(self, height: int, width: int) -> Float:
        rng = self._rng
        if self._stale(len(self._grounds), self._grounds.maxlen):
            ground = render_background(rng, height, width)
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
