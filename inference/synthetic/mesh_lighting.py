"""Lighting of meshes by a lamp and a sky, with the shadows of a mesh on itself and on the floor."""

from dataclasses import dataclass

import cv2
import numpy as np

from .mesh import Mesh
from .pixels import blur
from .rasterizer import MeshArrays, View
from .sampling import Float, Rng, between, chance

_MAP = 112
_CONTACT = 0.3
"""Share of the object's height up to which its parts darken the floor below them."""


@dataclass(frozen=True)
class Lamp:
    """A distant lamp: the unit vector towards it (y up), and the share 0..1 of ambient light."""

    direction: tuple[float, float, float]
    ambient: float


def random_lamp(rng: Rng) -> Lamp:
    """Draw a lamp above the object, more often in front of it than behind."""
    azimuth, height = rng.normal(np.pi / 2, 1.1), np.deg2rad(between(rng, 25, 80))
    flat = np.cos(height)
    direction = (float(flat * np.cos(azimuth)), float(np.sin(height)), float(flat * np.sin(azimuth)))
    return Lamp(direction, between(rng, 0.3, 0.75))


def _perpendicular(direction: Float) -> Float:
    """Two unit vectors perpendicular to a direction and to each other, 2 x 3."""
    first = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    first /= np.linalg.norm(first)
    return np.stack((first, np.cross(direction, first))).astype(np.float32)


def lamp_visibility(parts: MeshArrays, direction: tuple[float, float, float], size: int = _MAP) -> Float:
    """Share 0..1 of a distant lamp that each vertex sees past the rest of the mesh.

    A shadow map: Williams, "Casting curved shadows on curved surfaces", SIGGRAPH 1978.
    """
    towards = np.array(direction, np.float32)
    flat, depth = parts.points @ _perpendicular(towards).T, parts.points @ towards
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = (size - 5) / max(float((high - low).max()), 1e-6)
    pixels = (flat - low) * np.float32(scale) + 2
    # A quad is as far away as its farthest corner, or slopes would shadow themselves.
    nearness = depth[parts.coarse].min(axis=1)
    nearest = np.full((size, size), -1e9, np.float32)
    order = np.argsort(nearness, kind="stable")
    outlines = np.round(pixels[parts.coarse[order]] * 16).astype(np.int32)
    for outline, value in zip(outlines, nearness[order].tolist(), strict=True):
        cv2.fillConvexPoly(nearest, outline, value, 8, 4)
    bias = 0.03 + 1.0 / scale
    free = np.zeros(len(depth), np.float32)
    for dx, dy in ((0, 0), (1.3, 0.4), (-1.3, -0.4), (0.4, -1.3), (-0.4, 1.3)):
        x, y = np.round(pixels[:, 0] + dx).astype(int), np.round(pixels[:, 1] + dy).astype(int)
        free += nearest[y.clip(0, size - 1), x.clip(0, size - 1)] < depth + bias
    return free / np.float32(5)


def light_atlas(rng: Rng, mesh: Mesh, parts: MeshArrays, view: View, lamp: Lamp) -> Float:
    """Light of each vertex in the atlas, H x W x 2: a factor for the base colour, and a value that is added to it."""
    finish = np.array([(f.gloss, f.tightness, f.metal, f.rim) for f in (p.material.finish for p in mesh)], np.float32)
    gloss, tightness, metal, rim = finish[parts.owner].T
    sight = view.eye - parts.points
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    towards = np.array(lamp.direction, np.float32)
    normals = parts.normals * np.sign(np.einsum("ij,ij->i", parts.normals, sight) + np.float32(1e-6))[:, None]
    double = np.array([p.double for p in mesh])[parts.owner]
    normals = np.where(double[:, None], normals, parts.normals)
    facing = np.clip(np.einsum("ij,ij->i", normals, sight), 0, 1)
    direct = lamp_visibility(parts, lamp.direction)
    sky = (lamp_visibility(parts, (-0.6, 0.7, 0.38), 72) + lamp_visibility(parts, (0.6, 0.7, 0.38), 72)) / 2
    around = (0.35 + 0.65 * sky) * (0.78 + 0.22 * normals[:, 1])
    lambert = np.maximum(normals @ towards, 0) * direct
    factor = (lamp.ambient * around + (1 - lamp.ambient) * lambert) * between(rng, 1.25, 1.6)
    factor *= 1 - rim * (1 - facing)
    mirrored = 2 * facing[:, None] * normals - sight
    factor *= 1 + metal * _reflected_room(rng, mirrored)
    half = sight + towards
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    spark = gloss * np.maximum(np.einsum("ij,ij->i", normals, half), 0) ** tightness * direct
    glance = gloss * 0.35 * (1 - facing) ** 4 * sky
    atlas = np.zeros((parts.height * parts.width, 2), np.float32)
    atlas[parts.cell, 0], atlas[parts.cell, 1] = factor, spark + glance
    return atlas.reshape(parts.height, parts.width, 2)


def _reflected_room(rng: Rng, mirrored: Float) -> Float:
    """Reflection of an imaginary room in a metallic surface: bright and dark bands by direction, about -0.8..0.8."""
    bands = rng.random(int(rng.integers(5, 12))) * 1.6 - 0.8
    along = mirrored[:, 1] if chance(rng, 0.6) else mirrored[:, 0]
    return np.interp(along, np.linspace(-1, 1, len(bands)), bands).astype(np.float32)


def floor_shadow(rng: Rng, parts: MeshArrays, view: View, lamp: Lamp, size: int) -> Float:
    """The shadow on the floor below the lowest vertex, size x size in 0..1.

    The middle half of the picture is the view's canvas of 2 * size pixels; half a canvas is added on each side.
    """
    low = float(parts.points[:, 1].min())
    height = parts.points[:, 1] - low
    reach = np.array(lamp.direction, np.float32) / np.float32(lamp.direction[1])
    thrown = _project_to_floor(parts, view, parts.points - height[:, None] * reach, None, size)
    thrown = blur(thrown, size * between(rng, 0.004, 0.03)) * np.float32(between(rng, 0.25, 1.0))
    under = parts.points * np.array([1, 0, 1], np.float32) + np.array([0, low, 0], np.float32)
    tall = max(float(height.max()), 1e-6)
    touching = _project_to_floor(parts, view, under, np.clip(1 - height / (tall * _CONTACT), 0, 1), size)
    touching = blur(touching, size * between(rng, 0.006, 0.03)) * np.float32(between(rng, 0.3, 1.0))
    return np.asarray(np.maximum(thrown, touching), np.float32)


def _project_to_floor(parts: MeshArrays, view: View, points: Float, strength: Float | None, size: int) -> Float:
    """Draw the quads at points on the floor, with value 1 or the mean strength of their vertices."""
    pixels, _ = view.screen(points)
    outlines = pixels[parts.coarse] * np.float32(0.25) + np.float32(size / 4)
    plane = np.zeros((size, size), np.float32)
    values = np.ones(len(outlines), np.float32) if strength is None else strength[parts.coarse].mean(axis=1)
    order = np.argsort(values, kind="stable")
    order = order[values[order] > 0.02]
    fixed = np.round(np.clip(outlines[order], -size, 2 * size) * 16).astype(np.int32)
    for outline, value in zip(fixed, values[order].tolist(), strict=True):
        cv2.fillConvexPoly(plane, outline, value, 8, 4)
    return plane
