"""Random outlines in a unit frame (x right, y down, about -1..1) and their anti-aliased coverage masks."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .sampling import Float, Rng, between, chance

_SUPERSAMPLE = 2
_SHIFT = 4
_UNIT = 0.46  # half of the canvas, minus a margin for fur and straps


def to_pixels(points: Float, size: int) -> Float:
    """Convert the unit frame to pixels of a size x size canvas."""
    pixels: Float = ((points * _UNIT + 0.5) * size).astype(np.float32)
    return pixels


def from_pixels(pixels: Float, size: int) -> Float:
    """Convert pixels of a size x size canvas to the unit frame."""
    points: Float = ((pixels / size - 0.5) / _UNIT).astype(np.float32)
    return points


def _fixed(points: Float, size: int) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.round(to_pixels(points, size) * (_SUPERSAMPLE << _SHIFT)).astype(np.int32)
    return fixed


def _shrink(big: NDArray[np.uint8], size: int) -> Float:
    small = cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA)
    mask: Float = small.astype(np.float32) * np.float32(1 / 255)
    return mask


def coverage(contours: Sequence[Float], size: int) -> Float:
    """Coverage 0..1 (size x size) of closed contours, even-odd: an inner contour is a hole."""
    big = np.zeros((size * _SUPERSAMPLE, size * _SUPERSAMPLE), np.uint8)
    cv2.fillPoly(big, [_fixed(c, size) for c in contours], 255, cv2.LINE_AA, _SHIFT)
    return _shrink(big, size)


def union(contours: Sequence[Float], size: int) -> Float:
    """Coverage 0..1 (size x size) of closed contours that may overlap."""
    big = np.zeros((size * _SUPERSAMPLE, size * _SUPERSAMPLE), np.uint8)
    for contour in contours:
        cv2.fillPoly(big, [_fixed(contour, size)], 255, cv2.LINE_AA, _SHIFT)
    return _shrink(big, size)


def stroke_coverage(lines: Sequence[Float], widths: Sequence[float], size: int) -> Float:
    """Coverage 0..1 of open polylines; `widths` in unit-frame lengths, one per line."""
    big = np.zeros((size * _SUPERSAMPLE, size * _SUPERSAMPLE), np.uint8)
    for line, width in zip(lines, widths, strict=True):
        thickness = max(1, round(width * _UNIT * size * _SUPERSAMPLE))
        cv2.polylines(big, [_fixed(line, size)], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    return _shrink(big, size)


def hair_coverage(hairs: Float, size: int) -> Float:
    """Coverage of many tapering hairs, given as n x k x 2 unit-frame points from root to tip."""
    big = np.zeros((size * _SUPERSAMPLE, size * _SUPERSAMPLE), np.uint8)
    fixed = _fixed(hairs.reshape(-1, 2), size).reshape(hairs.shape)
    half = max(2, hairs.shape[1] * 2 // 3)
    cv2.polylines(big, list(fixed), False, 200, 1, cv2.LINE_AA, _SHIFT)
    cv2.polylines(big, list(fixed[:, :half]), False, 255, 2, cv2.LINE_AA, _SHIFT)
    return _shrink(big, size)


def chaikin(points: Float, rounds: int = 3, closed: bool = True) -> Float:
    """Smooth a control polygon in 2-D or 3-D by corner cutting.

    Chaikin, "An algorithm for high-speed curve generation", Computer Graphics and Image Processing, 1974.
    """
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        pairs = np.stack((0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following), axis=1)
        inner = pairs.reshape(-1, pairs.shape[-1]) if closed else pairs[:-1].reshape(-1, pairs.shape[-1])
        points = inner if closed else np.concatenate((points[:1], inner, points[-1:]))
    return points.astype(np.float32)


def rounded(corners: Float, radius: float) -> Float:
    """A polygon with straight sides and rounded corners; `radius` 0..0.5 is the share of a side that a corner takes."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    near = np.stack((corners + radius * (before - corners), corners, corners + radius * (after - corners)), axis=1)
    return chaikin(near.reshape(-1, 2), 3)


def fit(points: Float, half_width: float, half_height: float) -> Float:
    """Scale a contour to -half_width..half_width and -half_height..half_height."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = np.array([half_width, half_height]) * 2 / np.maximum(high - low, 1e-3)
    fitted: Float = ((points - (low + high) / 2) * scale).astype(np.float32)
    return fitted


def rotated(points: Float, degrees: float) -> Float:
    """Rotate about the origin."""
    a = np.deg2rad(degrees)
    matrix = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]], np.float32)
    return points @ matrix


def translated(points: Float, x: float, y: float) -> Float:
    """Translate."""
    return points + np.array([x, y], np.float32)


def ellipse(rx: float, ry: float, n: int = 72) -> Float:
    """An ellipse centred at the origin, n x 2."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack((rx * np.cos(a), ry * np.sin(a)), axis=1).astype(np.float32)


def blob(rng: Rng) -> Float:
    """A circle whose radius is a sum of harmonics."""
    a = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    orders = np.arange(1, int(rng.integers(3, 9)))
    amplitude = between(rng, 0.1, 0.45) * rng.standard_normal(len(orders)) / orders ** between(rng, 0.7, 1.6)
    waves = np.cos(a[:, None] * orders + rng.random(len(orders)) * 6.28) @ amplitude
    radius = np.maximum(1 + waves, 0.15)
    return np.stack((radius * np.cos(a), radius * np.sin(a)), axis=1).astype(np.float32)


def superellipse(rng: Rng) -> Float:
    """A random superellipse, between a diamond, an ellipse and a box."""
    a = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    power = 2 / between(rng, 1.3, 7)
    c, s = np.cos(a), np.sin(a)
    return np.stack((np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power), axis=1).astype(np.float32)


def star_spline(rng: Rng) -> Float:
    """A smooth or angular closed curve through points at random radii."""
    n = int(rng.integers(4, 13))
    a = (np.arange(n) + rng.random(n) * 0.7) * 2 * np.pi / n
    radius = between(rng, 0.2, 0.75) + rng.random(n) * 0.6
    points = np.stack((radius * np.cos(a), radius * np.sin(a)), axis=1).astype(np.float32)
    return rounded(points, between(rng, 0.03, 0.3)) if chance(rng, 0.4) else chaikin(points, 3)


def regular_polygon(rng: Rng) -> Float:
    """A rounded regular polygon, star, gear or heart-like outline."""
    n = int(rng.integers(3, 9))
    if chance(rng, 0.5):
        a = np.arange(n) * 2 * np.pi / n
        points = np.stack((np.sin(a), -np.cos(a)), axis=1).astype(np.float32)
    else:
        n = int(rng.integers(5, 14))
        a = np.arange(2 * n) * np.pi / n
        radius = np.where(np.arange(2 * n) % 2 == 0, 1.0, between(rng, 0.4, 0.9))
        points = np.stack((radius * np.sin(a), -radius * np.cos(a)), axis=1).astype(np.float32)
    return rounded(points, between(rng, 0.02, 0.3))


def capsule(rng: Rng) -> Float:
    """A curved spine with a varying width, such as a limb, banana or leaf."""
    t = np.linspace(0, 1, 40)
    bend = between(rng, -0.8, 0.8)
    spine = np.stack((2 * t - 1, bend * (1 - (2 * t - 1) ** 2)), axis=1)
    width = between(rng, 0.1, 0.4) * np.sin(np.pi * t) ** between(rng, 0.25, 1.0)
    top, low = spine - np.outer(width, [0, 1]), spine + np.outer(width, [0, 1])
    return np.concatenate((top, low[::-1])).astype(np.float32)


def random_contour(rng: Rng) -> Float:
    """A random outline with a random aspect ratio and rotation."""
    makers = (blob, superellipse, star_spline, regular_polygon, capsule)
    maker = makers[int(rng.choice(5, p=[0.27, 0.25, 0.25, 0.13, 0.1]))]
    points = maker(rng)
    aspect = float(np.exp(rng.normal(0, 0.35)))
    return rotated(fit(points, min(1.0, aspect), min(1.0, 1 / aspect)), rng.normal(0, 14))


_PROFILES: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
    ((0.16, 0.16, 0.16, 0.42, 0.45, 0.45, 0.44), (-1, -0.6, -0.45, -0.15, 0, 0.9, 1)),  # bottle
    ((0.2, 0.2, 0.5, 0.5, 0.5), (-1, -0.78, -0.6, 0.9, 1)),  # jar with a short neck
    ((0.75, 0.73, 0.68, 0.55, 0.5), (-0.8, -0.4, 0.2, 0.75, 0.8)),  # cup
    ((0.5, 0.52, 0.5, 0.5, 0.48), (-0.9, -0.4, 0, 0.6, 0.9)),  # can
    ((0.95, 0.9, 0.7, 0.4, 0.35), (-0.4, -0.2, 0.1, 0.35, 0.4)),  # bowl
    ((0.35, 0.22, 0.5, 0.6, 0.35), (-1, -0.7, -0.1, 0.3, 1)),  # vase
    ((0.42, 0.48, 0.4, 0.06, 0.05, 0.06, 0.4), (-1, -0.6, -0.2, 0.05, 0.4, 0.85, 1)),  # stemmed glass
    ((0.3, 0.55, 0.75, 0.06, 0.06, 0.45, 0.45), (-1, -0.7, -0.35, -0.33, 0.85, 0.92, 1)),  # table lamp
    ((0.1, 0.12, 0.12, 0.3, 0.32, 0.3), (-1, -0.9, -0.5, -0.45, 0.9, 1)),  # spray, dropper
)


def profile(rng: Rng) -> Float:
    """The profile of a body of revolution from its rim down to its base, n x 2 (radius, y)."""
    radii, heights = _PROFILES[int(rng.integers(len(_PROFILES)))]
    if chance(rng, 0.3):
        heights = tuple(np.linspace(-1, 1, 6).tolist())
        radii = tuple((0.15 + rng.random(6) * 0.55).tolist())
    jitter = np.exp(rng.normal(0, 0.12, len(radii)))
    side = np.stack((np.array(radii) * jitter * between(rng, 0.8, 1.2), np.array(heights)), axis=1).astype(np.float32)
    return chaikin(side, int(rng.integers(1, 4)), closed=False)


def lathe(rng: Rng) -> tuple[Float, Float]:
    """Outline of a body of revolution, and the ellipse of its upper rim."""
    side = profile(rng)
    tilt = between(rng, 0.0, 0.3) if chance(rng, 0.8) else between(rng, 0.3, 0.5)
    side[:, 0] = np.minimum(side[:, 0], 1.0)
    a = np.linspace(0, np.pi, 24)
    base, rim = side[-1], side[0]
    under = np.stack((base[0] * np.cos(a), base[1] + base[0] * tilt * np.sin(a) * 0.8), axis=1)
    over = np.stack((-rim[0] * np.cos(a), rim[1] - rim[0] * tilt * np.sin(a)), axis=1)
    outline = np.concatenate((side, under, side[::-1] * np.array([-1, 1]), over)).astype(np.float32)
    return outline, translated(ellipse(float(rim[0]), float(rim[0]) * tilt), 0, float(rim[1]))


def half_widths(outline: Float) -> tuple[Float, Float]:
    """Ascending heights and the half width of a symmetric outline at each, for `np.interp`."""
    right = outline[outline[:, 0] >= 0]
    order = np.argsort(right[:, 1])
    return right[order, 1], right[order, 0]


def jittered(rng: Rng, points: Sequence[tuple[float, float]], amount: float, rounds: int = 3) -> Float:
    """A control polygon with randomly moved corners, smoothed."""
    control = np.array(points, np.float32)
    return chaikin(control + rng.normal(0, amount, control.shape).astype(np.float32), rounds)


def random_line(rng: Rng, n: int = 6, spread: float = 0.9) -> Float:
    """A smooth, open random line."""
    return chaikin(((rng.random((n, 2)) * 2 - 1) * spread).astype(np.float32), 4, closed=False)


def fur_hairs(rng: Rng, contour: Float, count: int, length: float) -> Float:
    """Hairs (count x 5 x 2) with roots just inside a contour, pointing outwards with a common droop."""
    roll = np.roll(contour, -1, axis=0)
    seg = np.linalg.norm(roll - contour, axis=1)
    index = np.searchsorted(np.cumsum(seg), rng.random(count) * float(seg.sum())).clip(0, len(contour) - 1)
    t = rng.random((count, 1), dtype=np.float32)
    root = contour[index] * (1 - t) + roll[index] * t
    along = (roll - contour)[index] / np.maximum(seg[index, None], 1e-5)
    area = float(np.sum(contour[:, 0] * roll[:, 1] - roll[:, 0] * contour[:, 1]))
    outward = np.stack((along[:, 1], -along[:, 0]), axis=1) * np.sign(area)
    lengths = length * (0.4 + rng.random((count, 1)))
    lean = along * between(rng, -0.8, 0.8) + rng.normal(0, 0.3, (count, 2))
    droop = rng.normal(0, 0.4, (count, 2)) + np.array([0, between(rng, -0.2, 0.7)])
    s = np.linspace(-0.5, 1, 5)[None, :, None]
    hairs = root[:, None] + lengths[:, None] * (
        s * (outward + lean)[:, None] + np.sign(s) * s**2 * 0.5 * droop[:, None]
    )
    return np.asarray(hairs, np.float32)
