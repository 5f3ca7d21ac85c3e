"""Surfaces of solid objects as grids of vertices. Space is right-handed: x right, y up, z towards the viewer.

Seen from outside, the columns of a grid run to the left where its rows run upwards, so that the cross product of the
directions of rows and columns points outwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .contours import ellipse
from .flat_shading import Finish, random_finish
from .sampling import Float, Rng, between
from .textures import random_colour


@dataclass(frozen=True, eq=False)
class Material:
    """A surface's base colour and finish, and whether it has a pattern or print."""

    tone: Float
    finish: Finish
    pattern: bool = True


@dataclass(frozen=True, eq=False)
class Patch:
    """A grid of vertices, rows x columns x 3. `closed`: the last column equals the first; `double`: two-sided."""

    points: Float
    material: Material
    closed: bool = False
    double: bool = False


Mesh = list[Patch]
Reals = NDArray[np.floating]


def material(rng: Rng, tone: Float | None = None, pattern: bool = True) -> Material:
    """A random finish on a given or random colour."""
    return Material(random_colour(rng) if tone is None else tone, random_finish(rng), pattern)


def matt_material(tone: Float, pattern: bool = False) -> Material:
    """A material without highlights."""
    return Material(tone, Finish(0.02, 8, 0, 0.05), pattern)


def subdivide(line: Sequence[tuple[float, float]] | Float, step: float, crisp: float = 0.012) -> Float:
    """Subdivide a polyline: no points further apart than `step`, and each corner bevelled by `crisp`."""
    corners = np.asarray(line, np.float32)
    points = [corners[:1]]
    for start, end in pairwise(corners):
        length = float(np.linalg.norm(end - start))
        bevel = min(0.4, crisp / max(length, 1e-6))
        t = np.linspace(bevel, 1 - bevel, max(2, int(np.ceil(length / step)) + 1), dtype=np.float32)
        points.append(start + (end - start) * t[:, None])
    return np.concatenate([*points, corners[-1:]])


def loft(profile: Float, surface: Material, contour: Float | None = None) -> Patch:
    """Sweep a contour (k x 2, counter-clockwise in x and depth; a circle if None) along a profile (n x 2).

    Each point of the profile is a factor for the contour and a height. The profile starts at the centre of the base
    and goes outwards and up; where it comes down again inside, the body is hollow.
    """
    ring = ellipse(1, 1, 44) if contour is None else contour
    ring = np.concatenate((ring, ring[:1]))
    radius = np.maximum(profile[:, 0], 1e-3)
    points = np.empty((len(profile), len(ring), 3), np.float32)
    points[..., 0] = radius[:, None] * ring[:, 0]
    points[..., 1] = profile[:, 1][:, None]
    points[..., 2] = radius[:, None] * -ring[:, 1]
    return Patch(points[:, ::-1], surface, closed=True)


def disc(radius: float, height: float, surface: Material, cells: int = 15) -> Patch:
    """A horizontal disc facing up: a square grid mapped to a disc, so that patterns lie flat on it."""
    t = np.linspace(-1, 1, cells, dtype=np.float32)
    u, v = np.meshgrid(t[::-1], t)
    x, z = u * np.sqrt(1 - v * v / 2), -v * np.sqrt(1 - u * u / 2)
    points = np.stack((x * radius, np.full_like(x, height), z * radius), axis=-1)
    return Patch(np.ascontiguousarray(points, np.float32), surface)


def box(extent: tuple[float, float, float], surfaces: Sequence[Material], cells: int = 12) -> Mesh:
    """A box centred at the origin; `extent` is half its width, height and depth, `surfaces` are used in turn."""
    t = np.linspace(-1, 1, cells, dtype=np.float32)
    across, up = np.meshgrid(t, t)
    ahead = np.ones_like(across)
    faces = ((across, up, ahead), (-across, up, -ahead), (ahead, up, -across), (-ahead, up, across),
             (across, ahead, -up), (across, -ahead, up))  # fmt: skip
    size = np.array(extent, np.float32)
    return [
        Patch(np.ascontiguousarray(np.stack(face, axis=-1)[:, ::-1] * size), surfaces[i // 2 % len(surfaces)])
        for i, face in enumerate(faces)
    ]


def superellipsoid(extent: tuple[float, float, float], surface: Material, powers: tuple[float, float] = (1, 1),
                   cells: tuple[int, int] = (22, 36)) -> Patch:  # fmt: skip
    """An ellipsoid (powers 1), cushion or rounded box (powers below 1) centred at the origin.

    Barr, "Superquadrics and angle-preserving transformations", IEEE Computer Graphics and Applications, 1981.
    """
    profile = superellipse(powers[0], np.linspace(-1, 1, cells[0]))
    ring = superellipse(powers[1], np.linspace(0, 4, cells[1] + 1)[:-1])
    patch = loft(profile, surface, ring)
    return replace(patch, points=patch.points * np.array(extent, np.float32))


def superellipse(power: float, quarters: Reals) -> Float:
    """Points n x 2 of the unit superellipse, evenly spaced: at 0 right, 1 up, 2 left, 3 down, and so on."""
    turns, rest = np.divmod(quarters, 1)
    near, far = rest ** (1 / min(power, 1)), (1 - rest) ** (1 / min(power, 1))
    angle = (turns + near / (near + far)) * np.pi / 2
    c, s = np.cos(angle), np.sin(angle)
    return np.stack((np.sign(c) * np.abs(c) ** power, np.sign(s) * np.abs(s) ** power), axis=1).astype(np.float32)


def tube(line: Float, radius: Float | float, surface: Material, columns: int = 10, closed: bool = False) -> Patch:
    """A tube along a line (k x 3) with one radius or k radii; an open tube has rounded ends."""
    line = np.asarray(line, np.float32)
    widths = np.broadcast_to(np.asarray(radius, np.float32), (len(line),))
    if not closed:
        line, widths = _capped(line, widths)
    along = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0) if closed else np.gradient(line, axis=0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = _frames(along, closed)
    other = np.cross(along, side)
    angle = -np.linspace(0, 2 * np.pi, columns + 1)[None, :, None]
    points = line[:, None] + widths[:, None, None] * (np.cos(angle) * side[:, None] + np.sin(angle) * other[:, None])
    if closed:
        points = np.concatenate((points, points[:1]))
    return Patch(points.astype(np.float32), surface, closed=True)


def rod(start: Sequence[float], end: Sequence[float], radius: float, surface: Material) -> Patch:
    """A straight tube."""
    return tube(np.linspace(start, end, 9, dtype=np.float32), radius, surface)


def _capped(line: Float, widths: Float) -> tuple[Float, Float]:
    """Add points at both ends of the line, over which the width decreases to almost 0."""
    bulge = np.array([1.0, 0.92, 0.6], np.float32)[:, None]
    ends = []
    for end, inner, width in ((line[0], line[1], widths[0]), (line[-1], line[-2], widths[-1])):
        away = (end - inner) / max(float(np.linalg.norm(end - inner)), 1e-6)
        ends.append(end + away * width * bulge)
    thin = np.array([0.02, 0.45, 0.8], np.float32)
    line = np.concatenate((ends[0], line, ends[1][::-1])).astype(np.float32)
    return line, np.concatenate((thin * widths[0], widths, thin[::-1] * widths[-1])).astype(np.float32)


def _frames(along: Float, closed: bool) -> Float:
    """A direction perpendicular to each tangent, with minimal rotation along the line; continuous if closed."""
    first = np.cross(along[0], np.eye(3)[np.abs(along[0]).argmin()])
    sides = [first / np.linalg.norm(first)]
    for tangent in along[1:]:
        side = sides[-1] - tangent * (sides[-1] @ tangent)
        sides.append(side / max(float(np.linalg.norm(side)), 1e-6))
    frames = np.array(sides, np.float32)
    if not closed:
        return frames
    last = frames[-1] - along[0] * (frames[-1] @ along[0])
    twist = np.arctan2(np.cross(last, frames[0]) @ along[0], last @ frames[0])
    angle = (twist * np.arange(len(along)) / len(along))[:, None]
    return np.asarray(np.cos(angle) * frames + np.sin(angle) * np.cross(along, frames), np.float32)


def circle(radius: float, n: int = 48, squash: float = 1.0) -> Float:
    """A circle or ellipse of points in the x-y plane, n x 3."""
    flat = ellipse(radius, radius * squash, n)
    return np.concatenate((flat, np.zeros((n, 1), np.float32)), axis=1)


def rotation(axis: int, degrees: float) -> Float:
    """A 3 x 3 rotation matrix about an axis (0 x, 1 y, 2 z)."""
    a = np.deg2rad(degrees)
    turn = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    turn[i, i] = turn[j, j] = np.cos(a)
    turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)
    return turn.astype(np.float32)


def transform(mesh: Sequence[Patch], shift: Sequence[float] | Reals = (0, 0, 0), turn: Reals | None = None,
           scale: float = 1.0) -> Mesh:  # fmt: skip
    """Scale, rotate, then translate a mesh."""
    matrix = np.asarray(np.eye(3) if turn is None else turn, np.float32) * np.float32(scale)
    offset = np.asarray(shift, np.float32)
    return [replace(patch, points=patch.points @ matrix.T + offset) for patch in mesh]


def bounds(mesh: Sequence[Patch]) -> tuple[Float, Float]:
    """The lowest and the highest coordinates."""
    low = np.min([patch.points.min(axis=(0, 1)) for patch in mesh], axis=0)
    high = np.max([patch.points.max(axis=(0, 1)) for patch in mesh], axis=0)
    return low, high


def add_bumps(rng: Rng, patch: Patch, amount: float) -> Patch:
    """Deform a patch with gentle bumps, by shifts along smooth waves through space."""
    points = patch.points
    shift = np.zeros_like(points)
    for _ in range(3):
        wave = rng.normal(0, between(rng, 1, 4), 3).astype(np.float32)
        phase = points @ wave + np.float32(rng.random() * 6.28)
        shift += np.sin(phase)[..., None] * rng.normal(0, amount / 2, 3).astype(np.float32)
    return replace(patch, points=points + shift)


def bow(patch: Patch, amount: float) -> Patch:
    """Bend a patch sideways along y, in the shape of a banana."""
    points = patch.points.copy()
    points[..., 0] += np.float32(amount) * points[..., 1] ** 2
    return replace(patch, points=points)
