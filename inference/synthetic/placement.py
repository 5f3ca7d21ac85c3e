"""Places objects in the frame: position, size, rotation, and the shadow that moves with them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .content_mix import ContentMix
from .drawn_object import DrawnObject
from .pixels import Bytes, to_floats
from .sampling import Float, Rng, between, chance
from .textures import noise

_MIN_SHARE = 0.007


@dataclass(frozen=True)
class Layer:
    """An object warped into the frame."""

    rgb: Float  # H x W x 3
    alpha: Float  # H x W, 0..1
    floor: float  # the y of the lowest point, in pixels
    stands: bool
    shadow: Float | None = None  # H x W, 0..1: its shadow on the floor, where it has one


def _placement(rng: Rng, cutout: DrawnObject, height: int, width: int, scale: float) -> NDArray[np.float64]:
    """A random 2 x 3 matrix from the cut-out's pixels to the frame's."""
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


def _warp(rng: Rng, cutout: DrawnObject, height: int, width: int, scale: float) -> Layer:
    rgb, alpha = cutout.rgb, cutout.alpha
    shrink = scale * min(height / alpha.shape[0], width / alpha.shape[1])
    if shrink < 0.6:  # a bilinear warp alone would alias
        half = (max(2, round(alpha.shape[1] * shrink)), max(2, round(alpha.shape[0] * shrink)))
        rgb, alpha = (np.asarray(cv2.resize(p, half, interpolation=cv2.INTER_AREA), np.uint8) for p in (rgb, alpha))
    matrix = _placement(rng, replace(cutout, rgb=rgb, alpha=alpha), height, width, scale)
    frame = (width, height)
    picture = np.asarray(cv2.warpAffine(rgb, matrix, frame, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    matte = np.asarray(cv2.warpAffine(alpha, matrix, frame), np.uint8)
    if chance(rng, 0.2):
        picture, matte = _bend(rng, picture, matte)
    rows = np.flatnonzero(matte.max(axis=1) > 127)
    floor = float(rows[-1]) if len(rows) else float(height)
    shadow = None if cutout.shadow is None else _warp_shadow(cutout.shadow, alpha.shape, matrix, frame)
    return Layer(to_floats(picture), to_floats(matte), floor, cutout.stands, shadow)


def _warp_shadow(shadow: Bytes, shape: tuple[int, ...], matrix: NDArray[np.float64], frame: tuple[int, int]) -> Float:
    """Warp the shadow of a cut-out of this shape into the frame, by the matrix that places the cut-out."""
    rows, columns = shape
    side = 2 * max(rows, columns)
    scale = side / shadow.shape[0]
    out = np.array([[scale, 0, (columns - side) / 2], [0, scale, (rows - side) / 2], [0, 0, 1]])
    return to_floats(np.asarray(cv2.warpAffine(shadow, matrix @ out, frame), np.uint8))


def _bend(rng: Rng, rgb: Bytes, alpha: Bytes) -> tuple[Bytes, Bytes]:
    height, width = alpha.shape
    amount = np.float32(min(height, width) * between(rng, 0.01, 0.05))
    map_x = np.arange(width, dtype=np.float32) + amount * noise(rng, height, width, 3, 1)
    map_y = np.arange(height, dtype=np.float32)[:, None] + amount * noise(rng, height, width, 3, 1)
    bent = cv2.remap(rgb, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.uint8), np.asarray(cv2.remap(alpha, map_x, map_y, cv2.INTER_LINEAR), np.uint8)


def _scale(rng: Rng, cutout: DrawnObject, several: bool, close: float) -> float:
    """Random size of the cut-out relative to the largest that fits into the frame."""
    if several:
        return between(rng, 0.3, 0.65)
    if cutout.cut_below:
        return between(rng, 0.6, 1.5)
    if close and chance(rng, close):
        return between(rng, 1.0, 1.9)
    kind = rng.random()
    if kind < 0.2:
        return between(rng, 0.3, 0.6)
    return between(rng, 0.6, 1.02) if kind < 0.85 else between(rng, 1.0, 1.5)


def place_objects(rng: Rng, cutouts: list[DrawnObject], height: int, width: int, content: ContentMix) -> list[Layer]:
    """Place the objects so that they cover neither too little nor too much; an empty list where that failed."""
    if not cutouts:
        return []
    several = len(cutouts) > 1
    for attempt in range(6):
        layers = [_warp(rng, c, height, width, _scale(rng, c, several, content.close) + 0.1 * attempt) for c in cutouts]
        if _MIN_SHARE < float(combined_alpha(layers).mean()) < content.fullest:
            return layers
    return []


def combined_alpha(layers: list[Layer]) -> Float:
    """Alpha of all layers together, H x W."""
    clear = np.ones_like(layers[0].alpha)
    for layer in layers:
        clear = clear * (1 - layer.alpha)
    return np.asarray(1 - clear, np.float32)
