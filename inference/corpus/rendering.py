"""Render textured models: perspective, one lamp, shadows on the model and on the floor, exact alpha.

A depth buffer says which triangle each pixel shows, at twice the size; colours are worked out afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.corpus.wavefront import Material, ModelFileError, Triangles
from inference.synthetic.mesh import rotation
from inference.synthetic.pixels import downsample, to_bytes
from inference.synthetic.sampling import Float, Rng, between, chance
from inference.synthetic.textures import random_colour

SUPERSAMPLE = 2
SHADOW_SIDE = 96
"""Side of a shadow's picture, which covers a square of twice the object's longer side around its middle."""
LAMP_MAP = 192
"""Side of the depth buffer that the lamp sees."""
MOST_TRIANGLES = 30_000
LEAST_SHARE = 0.04
"""Of its square canvas that an object must cover."""


@dataclass(frozen=True, eq=False)
class Render:
    """A picture H x W x 4 with straight alpha, and the shadow on the floor, SHADOW_SIDE squared."""

    rgba: NDArray[np.uint8]
    shadow: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Buffer:
    """A depth buffer: the triangle that each pixel of a square canvas shows, -1 for none, and how near it is."""

    shown: NDArray[np.int32]
    nearness: Float


def render(rng: Rng, model: Triangles, size: int, surfaces: Sequence[NDArray[np.uint8]] = ()) -> Render:
    """The model from a random side, filling a canvas of size x size pixels.

    Materials without a texture may get another colour, or one of the photographed `surfaces`. Raises ModelFileError
    where the model is too large, see-through or next to invisible.
    """
    if len(model.points) > MOST_TRIANGLES:
        raise ModelFileError(f"{len(model.points)} triangles are too many")
    if any(material.opacity < 0.9 for material in model.materials):
        raise ModelFileError("it is see-through")
    model = replace(model, materials=[_dressed(rng, material, surfaces) for material in model.materials])
    points = model.points.reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 2 / max(float(np.linalg.norm(high - low)), 1e-9)
    points = (points - (low + high) / 2) * np.float32(scale)
    floor = float(points[:, 1].min())
    turn = rotation(0, between(rng, 2, 45)) @ rotation(1, between(rng, -180, 180))
    distance = between(rng, 2.6, 7.0)
    lamp = _lamp(rng)
    screen, depth = _projected(points, turn, distance)
    side = size * SUPERSAMPLE
    spread = screen.max(axis=0) - screen.min(axis=0)
    zoom = 0.96 * side / max(float(spread.max()), 1e-9)
    middle = (screen.max(axis=0) + screen.min(axis=0)) / 2
    pixels = ((screen - middle) * zoom + side / 2).astype(np.float32)
    buffer = rasterised(pixels.reshape(-1, 3, 2), np.asarray(1 / depth, np.float32).reshape(-1, 3), side)
    covered = buffer.shown >= 0
    if covered.mean() < LEAST_SHARE:
        raise ModelFileError("next to nothing of it shows")
    lit = _lit_by(points.reshape(-1, 3, 3), lamp)
    rgb = _coloured(rng, model, points.reshape(-1, 3, 3), pixels.reshape(-1, 3, 2), depth.reshape(-1, 3), buffer, lit,
                    lamp, turn, distance)  # fmt: skip
    alpha = downsample(covered.astype(np.float32), size, size)
    colour = downsample(rgb, size, size) / np.maximum(alpha, 1e-3)[..., None]
    rgba = np.dstack((to_bytes(np.clip(colour, 0, 1).astype(np.float32)), to_bytes(alpha)))
    shadow = _floor_shadow(points, floor, lamp, turn, distance, (zoom / side, middle), rgba[..., 3])
    return Render(rgba, shadow)


def rasterised(corners: Float, nearness: Float, side: int) -> _Buffer:
    """Fill triangles T x 3 x 2 (pixels) into a side x side buffer; the largest nearness (T x 3, linear) wins."""
    shown = np.full((side, side), -1, np.int32)
    nearest = np.zeros((side, side), np.float32)
    planes = _planes(corners)
    low = np.clip(np.floor(corners.min(axis=1) - 0.5), 0, side).astype(int)
    high = np.clip(np.ceil(corners.max(axis=1) + 0.5), 0, side).astype(int)
    rows = np.arange(side, dtype=np.float32)[:, None] + np.float32(0.5)
    columns = np.arange(side, dtype=np.float32)[None] + np.float32(0.5)
    usable = np.flatnonzero(np.isfinite(planes).all(axis=(1, 2)) & (high > low).all(axis=1))
    near = np.einsum("tc,tcp->tp", nearness, planes)
    for t in usable.tolist():
        (left, top), (right, bottom) = low[t].tolist(), high[t].tolist()
        x, y = columns[:, left:right], rows[top:bottom]
        (a, b, c), (d, e, f) = planes[t, 0].tolist(), planes[t, 1].tolist()
        first, second = a * x + b * y + c, d * x + e * y + f
        p, q, r = near[t].tolist()
        value = p * x + q * y + r
        before = nearest[top:bottom, left:right]
        wins = (first >= 0) & (second >= 0) & (first + second <= 1) & (value > before)
        before[wins] = value[wins]
        shown[top:bottom, left:right][wins] = t
    return _Buffer(shown, nearest)


def _planes(corners: Float) -> Float:
    """The three weights of a triangle's corners as functions of the pixel: T x 3 x (x, y, 1)."""
    a, b, c = corners.astype(np.float64).transpose(1, 0, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        area[np.abs(area) < 1e-6] = np.nan
        weights = []
        for p, q in ((b, c), (c, a), (a, b)):
            down, across = (p[:, 1] - q[:, 1]) / area, (q[:, 0] - p[:, 0]) / area
            weights.append(np.stack((down, across, -(down * p[:, 0] + across * p[:, 1])), axis=1))
    return np.stack(weights, axis=1).astype(np.float32)


def _projected(points: Float, turn: Float, distance: float) -> tuple[Float, Float]:
    """Screen coordinates N x 2 (y down) and depths N."""
    seen = points @ turn.T
    depth = np.maximum(distance - seen[:, 2], 0.2).astype(np.float32)
    return np.asarray(seen[:, :2] * np.array([1, -1], np.float32) / depth[:, None], np.float32), depth


def _lamp(rng: Rng) -> Float:
    """The unit direction to a lamp above the object, more often before it."""
    azimuth, height = rng.normal(np.pi / 2, 1.1), np.deg2rad(between(rng, 30, 80))
    flat = np.cos(height)
    return np.array([flat * np.cos(azimuth), np.sin(height), flat * np.sin(azimuth)], np.float32)


@dataclass(frozen=True, eq=False)
class _LampView:
    """A shadow map: the lamp's view of the model, with its own depth buffer."""

    axes: Float
    low: Float
    scale: float
    direction: Float
    nearest: Float

    def reaches(self, points: Float) -> Float:
        """The share 0..1 of the lamp that each point N x 3 sees."""
        place = (points @ self.axes.T - self.low) * np.float32(self.scale)
        near = points @ self.direction + np.float32(4)
        free = np.zeros(len(points), np.float32)
        for dx, dy in ((0, 0), (1.2, 0.4), (-1.2, -0.4), (0.4, -1.2), (-0.4, 1.2)):
            x, y = (np.floor(place[:, i] + d).astype(int).clip(0, LAMP_MAP - 1) for i, d in ((0, dx), (1, dy)))
            free += self.nearest[y, x] < near + np.float32(0.03)
        return free / np.float32(5)


def _lit_by(points: Float, direction: Float) -> _LampView:
    first = np.cross(direction, np.eye(3, dtype=np.float32)[np.abs(direction).argmin()])
    first /= np.linalg.norm(first)
    axes = np.stack((first, np.cross(direction, first))).astype(np.float32)
    flat = points @ axes.T
    low = flat.min(axis=(0, 1))
    scale = (LAMP_MAP - 2) / max(float((flat.max(axis=(0, 1)) - low).max()), 1e-6)
    buffer = rasterised((flat - low) * np.float32(scale) + np.float32(1), points @ direction + np.float32(4), LAMP_MAP)
    return _LampView(axes, low - np.float32(1 / scale), scale, direction, buffer.nearness)


def _coloured(rng: Rng, model: Triangles, points: Float, pixels: Float, depth: Float, buffer: _Buffer, lit: _LampView,
              lamp: Float, turn: Float, distance: float) -> Float:  # fmt: skip
    """Colours H x W x 3 of all pixels, black where nothing shows."""
    side = buffer.shown.shape[0]
    rows, columns = np.nonzero(buffer.shown >= 0)
    t = buffer.shown[rows, columns]
    at = np.stack((columns + 0.5, rows + 0.5, np.ones(len(t))), axis=1).astype(np.float32)
    weights = np.einsum("npx,nx->np", _planes(pixels)[t], at) / depth[t]
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)  # by perspective
    where = np.einsum("np,npx->nx", weights, points[t])
    normal = np.einsum("np,npx->nx", weights, model.normals[t])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    sight = turn.T @ np.array([0, 0, distance], np.float32) - where
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    normal *= np.sign(np.einsum("nx,nx->n", normal, sight) + 1e-6)[:, None]  # both sides of a face can be seen
    ambient = between(rng, 0.3, 0.7)
    direct = lit.reaches((where + normal * np.float32(0.02)).astype(np.float32))
    diffuse = ambient * (0.75 + 0.25 * normal[:, 1]) + (1 - ambient) * np.maximum(normal @ lamp, 0) * direct
    half = sight + lamp
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.maximum(np.einsum("nx,nx->n", normal, half), 0) ** between(rng, 10, 80) * direct
    place = np.einsum("np,npx->nx", weights, model.places[t])
    base, gloss = _surface(model, t, place, _wrapped(where, normal))
    values = base * (diffuse * between(rng, 1.15, 1.5))[:, None] + (gloss * shine)[:, None]
    picture = np.zeros((side, side, 3), np.float32)
    picture[rows, columns] = np.clip(values, 0, 1) ** np.float32(between(rng, 0.75, 1.0))
    return picture


def _dressed(rng: Rng, material: Material, surfaces: Sequence[NDArray[np.uint8]]) -> Material:
    """Give a plain material another colour or a photographed surface: many models are grey all over."""
    if material.texture is not None or chance(rng, 0.3):
        return material
    if surfaces and chance(rng, 0.5):
        return replace(material, texture=surfaces[int(rng.integers(len(surfaces)))], wrapped=True)
    return (
        replace(material, colour=np.asarray(random_colour(rng), np.float32))
        if np.ptp(material.colour) < 0.1
        else material
    )


def _wrapped(where: Float, normal: Float) -> Float:
    """Places N x 2 in a texture that is projected onto the model from the side that each pixel's surface faces."""
    axis = np.abs(normal).argmax(axis=1)
    others = np.array([(2, 1), (0, 2), (0, 1)])[axis]
    return np.take_along_axis(where, others, axis=1) * np.float32(1.3)


def _surface(model: Triangles, triangles: NDArray[np.int32], place: Float, wrapped: Float) -> tuple[Float, Float]:
    """Base colour N x 3 and gloss N of pixels that show these triangles at these places of their textures."""
    owner = model.owner[triangles]
    base, gloss = np.zeros((len(triangles), 3), np.float32), np.zeros(len(triangles), np.float32)
    for number in np.unique(owner).tolist():
        material, mine = model.materials[number], np.flatnonzero(owner == number)
        gloss[mine] = min(material.gloss, 0.6)
        if material.texture is None:
            base[mine] = material.colour
            continue
        height, width = material.texture.shape[:2]
        u, v = (wrapped if material.wrapped else place)[mine].T
        x = (u % 1 * width).astype(int).clip(0, width - 1)
        y = ((1 - v % 1) * height).astype(int).clip(0, height - 1)
        base[mine] = material.texture[y, x].astype(np.float32) / 255
    return base, gloss


def _floor_shadow(points: Float, floor: float, lamp: Float, turn: Float, distance: float,
                  frame: tuple[float, Float], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:  # fmt: skip
    """The model's shadow on a floor below it, seen by the same camera: a square around the visible object."""
    fall = (points[:, 1] - floor) / max(float(lamp[1]), 0.2)
    thrown = (points - lamp * fall[:, None]).astype(np.float32)
    screen, _ = _projected(thrown, turn, distance)
    zoom, middle = frame
    unit = (screen - middle) * zoom + 0.5  # 0..1 over the canvas
    x, y, w, h = cv2.boundingRect((alpha > 8).astype(np.uint8))
    size = alpha.shape[0]
    reach = 2 * max(w, h) / size
    corner = np.array([x + w / 2, y + h / 2]) / size - reach / 2
    outlines = ((unit - corner) / reach * SHADOW_SIDE * 16).round().astype(np.int32).reshape(-1, 3, 2)
    canvas = np.zeros((SHADOW_SIDE, SHADOW_SIDE), np.uint8)
    for outline in outlines:
        cv2.fillConvexPoly(canvas, outline, 255, cv2.LINE_8, 4)
    ramp = np.clip((SHADOW_SIDE / 2 - np.abs(np.arange(SHADOW_SIDE) + 0.5 - SHADOW_SIDE / 2)) / 10, 0, 1)
    soft = cv2.GaussianBlur(canvas, (0, 0), 1.2).astype(np.float32) * np.outer(ramp, ramp).astype(np.float32)
    return np.asarray(soft.round().clip(0, 255), np.uint8)
