"""Backgrounds: plain, studio, wall, out of focus, cluttered, room. All are float32 H x W x 3 in 0..1."""

import cv2
import numpy as np

from . import contours as shape
from .pixels import blur, filled, grid, mix, multiply, to_bytes, to_floats, upsample
from .sampling import Float, Rng, between, chance
from .textures import clouds, fibres, hsv, noise, random_colour, random_pattern, similar_colour


def _paper_colour(rng: Rng) -> Float:
    kind = rng.random()
    if kind < 0.3:
        return np.ones(3, np.float32)
    if kind < 0.65:
        return hsv(rng.random(), between(rng, 0, 0.05), between(rng, 0.8, 1.0))
    if kind < 0.75:
        return hsv(rng.random(), between(rng, 0, 0.1), between(rng, 0.0, 0.2))
    return random_colour(rng)


def plain_backdrop(rng: Rng, height: int, width: int) -> Float:
    """One flat colour, mostly white or almost white."""
    return filled(_paper_colour(rng), height, width)


def studio_backdrop(rng: Rng, height: int, width: int) -> Float:
    """A photo studio: a floor that blends into a wall, a soft lamp, darker corners."""
    x, y = grid(height, width)
    base = _paper_colour(rng) * np.float32(between(rng, 0.75, 1.0))
    fall = np.float32(between(rng, -0.3, 0.3))
    light = 1 + fall * (y - 0.5) + np.float32(rng.normal(0, 0.12)) * (x - 0.5)
    cx, cy = between(rng, 0.2, 0.8), between(rng, 0.0, 0.8)
    spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) * np.float32(between(rng, 1, 6)))
    light = light + np.float32(between(rng, -0.05, 0.4)) * (spot - 0.4)
    if chance(rng, 0.6):
        line, soft = between(rng, 0.45, 0.9), 10 ** between(rng, -2.3, -0.7)
        tilt = np.float32(rng.normal(0, 0.02))
        floor = 1 / (1 + np.exp(-np.clip((y - line + tilt * x) / np.float32(soft), -30, 30)))
        other = similar_colour(rng, base, 0.15) if chance(rng, 0.8) else random_colour(rng)
        return multiply(mix(base, other, np.asarray(floor, np.float32)), light)
    return multiply(base, light)


def wall(rng: Rng, height: int, width: int) -> Float:
    """A coloured gradient or wall with soft light and faint texture."""
    x, y = grid(height, width)
    a = rng.random() * 6.28
    ramp = x * np.float32(np.cos(a)) + y * np.float32(np.sin(a))
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min() + np.float32(1e-6))
    base = random_colour(rng)
    picture = mix(base, similar_colour(rng, base, 0.35) if chance(rng, 0.6) else random_colour(rng), ramp)
    mottle = noise(rng, height, width, between(rng, 2, 6), 2) * np.float32(between(rng, 0, 0.15))
    if chance(rng, 0.5):
        mottle = mottle + noise(rng, height, width, between(rng, 40, 150), 2) * np.float32(between(rng, 0.01, 0.08))
    return multiply(picture, 1 + mottle)


def _bokeh(rng: Rng, picture: Float) -> None:
    """Add out-of-focus lights to the picture in place."""
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(3, 25))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        radius = int(max(height, width) * between(rng, 0.01, 0.08))
        layer = np.zeros((height, width), np.float32)
        cv2.circle(layer, centre, radius, between(rng, 0.1, 0.6), -1, cv2.LINE_AA)
        picture += layer[..., None] * random_colour(rng)


def _background_shapes(rng: Rng, background: Float, count: int, scale: float) -> Float:
    """Paint flat random shapes on the background."""
    picture = to_bytes(background)
    height, width = picture.shape[:2]
    for _ in range(count):
        points = (
            shape.random_contour(rng)
            if chance(rng, 0.6)
            else np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float32)
        )
        size = max(height, width) * scale * between(rng, 0.2, 1.0)
        stretch = np.array([size * between(rng, 0.2, 1), size * between(rng, 0.2, 1)])
        pixels = points * stretch + rng.random(2) * np.array([width, height])
        tint = tuple(float(c) * 255 for c in random_colour(rng))
        cv2.fillPoly(picture, [np.round(pixels * 16).astype(np.int32)], tint, cv2.LINE_AA, 4)
    return to_floats(picture)


def defocused(rng: Rng, height: int, width: int) -> Float:
    """An out-of-focus scene of colour noise, bokeh and blurred shapes, drawn small and enlarged."""
    small = 96 / max(height, width)
    rows, columns = max(8, round(height * small)), max(8, round(width * small))
    picture = mix(
        random_colour(rng), random_colour(rng), np.clip(noise(rng, rows, columns, between(rng, 2, 6), 3) + 0.5, 0, 1)
    )
    if chance(rng, 0.7):
        picture = _background_shapes(rng, picture, int(rng.integers(2, 14)), 0.5)
    picture = picture + np.dstack([noise(rng, rows, columns, 5, 3) for _ in range(3)]) * np.float32(0.08)
    picture = blur(picture, between(rng, 0.8, 6))
    if chance(rng, 0.35):
        _bokeh(rng, picture)
        picture = blur(picture, 0.8)
    return upsample(picture, height, width, smooth=True)


def _tiles(rng: Rng, height: int, width: int) -> Float:
    x, y = grid(height, width)
    rows = between(rng, 3, 16)
    long = between(rng, 1, 4) if chance(rng, 0.6) else 1.0
    row = np.floor(y * np.float32(rows))
    u = x * np.float32(rows / long) + (row % 2) * np.float32(0.5 if chance(rng, 0.6) else 0)
    fx, fy = u - np.floor(u), y * np.float32(rows) - row
    joint = np.minimum(np.minimum(fx, 1 - fx) * np.float32(long), np.minimum(fy, 1 - fy))
    seam = np.clip(joint / np.float32(between(rng, 0.03, 0.1)), 0, 1)
    base = random_colour(rng)
    tint = np.sin(row * 12.9898 + np.floor(u) * 78.233) * np.float32(between(rng, 0, 0.15))
    brick = multiply(base, 1 + tint + noise(rng, height, width, 40, 2) * np.float32(0.08))
    return mix(similar_colour(rng, base, 0.3), brick, seam)


def _grass(rng: Rng, height: int, width: int) -> Float:
    base = np.array([between(rng, 0.1, 0.5), between(rng, 0.25, 0.6), between(rng, 0.05, 0.3)], np.float32)
    base = base if chance(rng, 0.7) else random_colour(rng)
    picture = to_bytes(clouds(rng, height, width, base))
    longest = max(height, width)
    n = int(rng.integers(150, 500))
    root = rng.random((n, 1, 2)) * np.array([width, height * 1.1])
    rise = rng.normal(0, 0.04, (n, 1, 2)) + np.array([0, -between(rng, 0.02, 0.1)])
    bend = rng.normal(0, 0.02, (n, 1, 2))
    t = np.linspace(0, 1, 4)[None, :, None]
    blades = np.round((root + longest * (rise * t + bend * t * t)) * 16).astype(np.int32)
    for part in np.array_split(blades, 6):
        tint = tuple(float(c) * 255 for c in similar_colour(rng, base, 0.35))
        cv2.polylines(picture, list(part), False, tint, int(rng.integers(1, 3)), cv2.LINE_AA, 4)
    return to_floats(picture)


def _planks(rng: Rng, height: int, width: int) -> Float:
    base = hsv(between(rng, 0.03, 0.11), between(rng, 0.15, 0.7), between(rng, 0.2, 0.95))
    picture = fibres(rng, height, width, base)
    x, y = grid(height, width)
    along = (y if chance(rng, 0.5) else x) * np.float32(between(rng, 2, 9))
    board = np.floor(along)
    gap = np.clip(np.abs(along - board - 0.5) * -40 + 20, 0, 1)
    return multiply(picture, (1 + np.sin(board * 91.7) * np.float32(0.1)) * (0.5 + 0.5 * gap))


def cluttered(rng: Rng, height: int, width: int) -> Float:
    """A cluttered background of wood, tiles, cloth, grass or many shapes, with less contrast than an object."""
    kind = rng.random()
    if kind < 0.2:
        picture = _tiles(rng, height, width)
    elif kind < 0.35:
        picture = _grass(rng, height, width)
    elif kind < 0.6:
        picture = _planks(rng, height, width)
    elif kind < 0.8:
        picture = random_pattern(rng, height, width, random_colour(rng))
    else:
        picture = clouds(rng, height, width, random_colour(rng))
        picture = _background_shapes(rng, picture, int(rng.integers(4, 20)), 0.3)
        picture = blur(picture, max(height, width) * between(rng, 0.004, 0.02))
    contrast, middle = between(rng, 0.35, 1.0), picture[::4, ::4].mean(axis=(0, 1))
    picture = middle + (picture - middle) * np.float32(contrast)
    if chance(rng, 0.5):
        picture = blur(picture, max(height, width) * between(rng, 0.002, 0.015))
    return picture.astype(np.float32)


def room(rng: Rng, height: int, width: int) -> Float:
    """A patterned floor or table in perspective, with another background behind it."""
    behind = (wall, studio_backdrop, defocused, cluttered)[int(rng.integers(4))](rng, height, width)
    kind = rng.random()
    if kind < 0.6:
        pattern = (_tiles if kind < 0.3 else _planks)(rng, height, width)
    else:
        pattern = random_pattern(rng, height, width, random_colour(rng))
    horizon, widening = between(rng, 0.05, 0.65) * height, between(rng, 0.3, 1.5) * width
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    seen = np.array([(0, horizon), (width, horizon), (width + widening, height), (-widening, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, seen)
    floor = np.asarray(cv2.warpPerspective(pattern, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    weight = np.clip((y - np.float32(horizon)) / np.float32(between(rng, 1, 6)), 0, 1) * np.ones(width, np.float32)
    picture = mix(behind, floor, weight)
    return np.clip(blur(picture, between(rng, 0.6, 3)) if chance(rng, 0.5) else picture, 0, 1).astype(np.float32)


def colour_noise(rng: Rng, height: int, width: int) -> Float:
    """Squares of random colours, from one pixel to a tenth of the picture."""
    cell = max(1.0, max(height, width) * 10 ** between(rng, -2.7, -1.0))
    rows, columns = max(2, round(height / cell)), max(2, round(width / cell))
    spread = np.float32(between(rng, 0.1, 0.5))
    squares = (random_colour(rng) + rng.standard_normal((rows, columns, 3)) * spread).astype(np.float32)
    how = cv2.INTER_CUBIC if chance(rng, 0.4) else cv2.INTER_NEAREST
    return np.clip(np.asarray(cv2.resize(squares, (width, height), interpolation=how), np.float32), 0, 1)


_KINDS = (plain_backdrop, studio_backdrop, wall, defocused, cluttered)
_SHARES = np.array([0.3, 0.25, 0.15, 0.15, 0.15])


def render_background(rng: Rng, height: int, width: int) -> Float:
    """Draw a random background, H x W x 3 in 0..1."""
    picture = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))](rng, height, width)
    return np.clip(picture, 0, 1).astype(np.float32)
