"""Colours and surface patterns. Pictures here are float32 H x W x 3 in 0..1."""

from collections.abc import Callable

import cv2
import numpy as np

from .pixels import filled, grid, mix, multiply, to_rgb, upsample
from .sampling import Float, Rng, between, chance


def hsv(h: float, s: float, v: float) -> Float:
    """An RGB colour from hue 0..1, saturation and value."""
    k = (np.array([5.0, 3.0, 1.0]) + h * 6) % 6
    rgb: Float = (v - v * s * np.clip(np.minimum(k, 4 - k), 0, 1)).astype(np.float32)
    return rgb


def random_colour(rng: Rng) -> Float:
    """A random colour of an everyday object: often white, grey, black or brown, sometimes vivid."""
    kind = rng.random()
    if kind < 0.2:
        return hsv(rng.random(), between(rng, 0, 0.08), between(rng, 0.78, 1.0))
    if kind < 0.32:
        return hsv(rng.random(), between(rng, 0, 0.25), between(rng, 0.03, 0.22))
    if kind < 0.45:
        return hsv(rng.random(), between(rng, 0, 0.1), between(rng, 0.2, 0.8))
    if kind < 0.6:
        return hsv(between(rng, 0.02, 0.12), between(rng, 0.2, 0.7), between(rng, 0.25, 0.95))
    return hsv(rng.random(), between(rng, 0.2, 1.0), between(rng, 0.3, 1.0))


def skin_colour(rng: Rng) -> Float:
    """A random skin colour, light to dark."""
    return hsv(between(rng, 0.03, 0.09), between(rng, 0.25, 0.6), between(rng, 0.3, 0.98))


def noise(rng: Rng, height: int, width: int, cells: float, octaves: int = 3, stretch: float = 1.0) -> Float:
    """Smooth noise, H x W, about -1..1, with `cells` bumps along the longer side; `stretch` > 1 elongates them in x."""
    total = np.zeros((height, width), np.float32)
    weight, norm = 1.0, 0.0
    for _ in range(octaves):
        rows = int(np.clip(cells * height / max(height, width), 2, height))
        columns = int(np.clip(cells / stretch * width / max(height, width), 2, width))
        coarse = rng.random((rows + 2, columns + 2), dtype=np.float32) * 2 - 1
        total += np.float32(weight) * upsample(coarse, height, width, smooth=True)
        norm += weight
        weight, cells = weight * 0.55, cells * 2.1
    return total * np.float32(1.3 / norm)


def similar_colour(rng: Rng, base: Float, spread: float = 0.25) -> Float:
    """A colour similar to another: lighter or darker, with a slightly different hue."""
    shade = base * np.float32(between(rng, 1 - 2 * spread, 1 + spread)) + rng.normal(0, spread * 0.25, 3)
    return np.clip(shade, 0, 1).astype(np.float32)


def _plane(rng: Rng, height: int, width: int) -> Float:
    x, y = grid(height, width)
    a = rng.random() * 2 * np.pi if chance(rng, 0.5) else float(rng.integers(4)) * np.pi / 2 + rng.normal(0, 0.05)
    plane: Float = x * np.float32(np.cos(a)) + y * np.float32(np.sin(a))
    return plane


def plain(rng: Rng, height: int, width: int, base: Float) -> Float:
    """One colour, sometimes slightly mottled."""
    if chance(rng, 0.5):
        return filled(base, height, width)
    spots = noise(rng, height, width, between(rng, 3, 40), 2) * np.float32(between(rng, 0.01, 0.08))
    return filled(base, height, width) + to_rgb(spots)


def gradient(rng: Rng, height: int, width: int, base: Float) -> Float:
    """A gradient from one colour to another."""
    plane = _plane(rng, height, width)
    ramp = np.clip((plane - plane.min()) / (plane.max() - plane.min() + 1e-6) * 2 - 0.5, 0, 1)
    return mix(base, similar_colour(rng, base, 0.4) if chance(rng, 0.6) else random_colour(rng), ramp)


def stripes(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Stripes or checks, straight or wavy."""
    plane = _plane(rng, height, width)
    if chance(rng, 0.3):
        plane = plane + noise(rng, height, width, 4, 1) * np.float32(0.04)
    frequency = between(rng, 20, 180)
    wave = np.sin(plane * np.float32(frequency))
    if chance(rng, 0.4):
        wave = wave * np.sin(_plane(rng, height, width) * np.float32(frequency))
    t = np.clip(wave * np.float32(between(rng, 1, 8)) + np.float32(between(rng, -1, 1.5)), 0, 1)
    return mix(base, similar_colour(rng, base, 0.5) if chance(rng, 0.5) else random_colour(rng), t)


def dots(rng: Rng, height: int, width: int, base: Float) -> Float:
    """A regular pattern of dots."""
    x, y = grid(height, width)
    f = np.float32(between(rng, 30, 120))
    t = np.clip((np.sin(x * f) * np.sin(y * f) - np.float32(between(rng, 0.1, 0.7))) * 8, 0, 1)
    return mix(base, random_colour(rng), t)


def clouds(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Two colours mixed by noise of several octaves."""
    field = noise(rng, height, width, between(rng, 2, 14), 4)
    t = np.clip(field * np.float32(between(rng, 0.6, 4)) + 0.5, 0, 1)
    return mix(base, similar_colour(rng, base, 0.45) if chance(rng, 0.7) else random_colour(rng), t)


def fibres(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Long grain: wood, brushed metal, fur or fabric threads."""
    angle_90 = chance(rng, 0.5)
    rows, columns = (width, height) if angle_90 else (height, width)
    field = noise(rng, rows, columns, between(rng, 15, 90), 2, between(rng, 4, 20))
    rings = np.sin(noise(rng, rows, columns, 3, 2, 2.5) * np.float32(between(rng, 4, 30)))
    t = np.clip(0.5 + 0.6 * field + np.float32(between(rng, 0, 0.3)) * rings, 0, 1)
    t = np.ascontiguousarray(t.T) if angle_90 else t
    return mix(base, similar_colour(rng, base, between(rng, 0.1, 0.4)), t)


def weave(rng: Rng, height: int, width: int, base: Float) -> Float:
    """A fine knit or canvas."""
    x, y = grid(height, width)
    f = np.float32(between(rng, 150, 500))
    t = np.sin(x * f) * np.sin(y * f) * 0.5 + noise(rng, height, width, 60, 2) * 0.4
    return multiply(base, 1 + np.float32(between(rng, 0.08, 0.35)) * t)


def marble(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Thin veins on a background."""
    field = np.abs(noise(rng, height, width, between(rng, 2, 6), 4))
    t = np.clip(1 - field * np.float32(between(rng, 6, 20)), 0, 1)
    return mix(base, similar_colour(rng, base, 0.4), t * np.float32(between(rng, 0.3, 0.9)))


def patches(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Camouflage-like patches with hard borders, several colours."""
    picture = filled(base, height, width)
    for _ in range(int(rng.integers(1, 4))):
        field = noise(rng, height, width, between(rng, 2, 7), 2)
        t = np.clip((field - np.float32(between(rng, -0.1, 0.3))) * 30, 0, 1)
        picture = mix(picture, random_colour(rng) if chance(rng, 0.6) else similar_colour(rng, base, 0.4), t)
    return picture


def panels(rng: Rng, height: int, width: int, base: Float) -> Float:
    """Straight blocks of colour, as on packaging, uniforms or shoes."""
    picture = filled(base, height, width)
    for _ in range(int(rng.integers(1, 4))):
        plane = _plane(rng, height, width)
        middle, half = between(rng, float(plane.min()), float(plane.max())), between(rng, 0.01, 0.15)
        t = np.clip((half - np.abs(plane - np.float32(middle))) * max(height, width), 0, 1)
        picture = mix(picture, random_colour(rng), t)
    return picture


Pattern = Callable[[Rng, int, int, Float], Float]
_PATTERNS: tuple[Pattern, ...] = (
    plain, gradient, stripes, dots, clouds, fibres, weave, marble, patches, panels,
)  # fmt: skip
_SHARES = np.array([0.37, 0.12, 0.06, 0.03, 0.11, 0.09, 0.07, 0.05, 0.05, 0.05])


def random_pattern(rng: Rng, height: int, width: int, base: Float) -> Float:
    """A random pattern around a base colour, H x W x 3."""
    return _PATTERNS[int(rng.choice(len(_PATTERNS), p=_SHARES))](rng, height, width, base)


def print_marks(rng: Rng, picture: Float, centre: tuple[float, float], extent: tuple[float, float]) -> Float:
    """Print rows of letter-like marks on a picture; centre and extent in pixels."""
    ink = np.zeros(picture.shape[:2], np.uint8)  # OpenCV smooths lines on 8-bit pictures only
    rows = int(rng.integers(1, 6))
    step = extent[1] / rows
    for row in range(rows):
        height = step * between(rng, 0.4, 0.8)
        half = extent[0] * between(rng, 0.4, 1.0) / 2
        x, y = centre[0] - half, centre[1] - extent[1] / 2 + row * step
        thickness = max(1, round(height * 0.16))
        while x < centre[0] + half and height > 2.5:
            glyph = rng.random((int(rng.integers(2, 5)), 2)) * np.array([height * 0.55, height]) + np.array([x, y])
            cv2.polylines(ink, [np.round(glyph * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, 4)
            x += height * (0.75 if chance(rng, 0.85) else 1.3)
    return mix(picture, random_colour(rng), ink.astype(np.float32) * np.float32(1 / 255))
