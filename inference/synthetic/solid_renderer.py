"""Renders solid objects: random mesh, camera and lamp, and the cut-out with its shadow on the floor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from . import solid_creatures, solid_objects, solid_vessels
from .drawn_object import DrawnObject, crop_visible, visible_box
from .fur import add_fur
from .mesh import Mesh, bounds, rotation, transform
from .mesh_lighting import floor_shadow, light_atlas, random_lamp
from .pixels import to_bytes
from .rasterizer import atlas_coordinates, fit_view, flatten, paint, rasterize, texture_atlas
from .sampling import Float, Rng, between, chance

_SHADOW = 96
"""Side of a shadow's picture in pixels; shadows are soft, so more is not needed."""
_RAMP = np.clip((_SHADOW / 2 - np.abs(np.arange(_SHADOW) + 0.5 - _SHADOW / 2)) / 10, 0, 1).astype(np.float32)
_FADE = np.outer(_RAMP, _RAMP)
"""Fades a long shadow out at the edge of its picture."""


@dataclass(frozen=True)
class _Kind:
    """A kind of object: its builder, its weight, and the range of elevations of the camera in degrees.

    `turn` limits its rotation about the vertical axis to plus or minus that many degrees, `hairy` is the chance of fur.
    """

    build: Callable[[Rng], Mesh]
    weight: float
    above: tuple[float, float]
    turn: float = 180.0
    hairy: float = 0.0


_KINDS = (
    _Kind(solid_vessels.cup, 0.17, (8, 75)), _Kind(solid_vessels.bottle, 0.09, (0, 45)),
    _Kind(solid_objects.carton, 0.11, (5, 60)),
    _Kind(solid_objects.plate, 0.05, (10, 80)), _Kind(solid_objects.rings, 0.05, (0, 80)),
    _Kind(solid_objects.spectacles, 0.03, (0, 40), 70),
    _Kind(solid_objects.cables, 0.03, (0, 60)), _Kind(solid_objects.furniture, 0.06, (5, 40)),
    _Kind(solid_vessels.plant, 0.05, (5, 60)),
    _Kind(solid_objects.bag, 0.04, (0, 40)), _Kind(solid_objects.repeated_items, 0.1, (25, 88)),
    _Kind(solid_objects.stacked_shapes, 0.06, (5, 60)),
    _Kind(solid_objects.tool, 0.04, (0, 70)), _Kind(solid_creatures.head, 0.06, (-10, 30), 45, 0.7),
    _Kind(solid_creatures.quadruped, 0.04, (0, 30), 180, 0.6),
    _Kind(solid_creatures.person, 0.04, (-5, 25)),
)  # fmt: skip
_WEIGHTS = np.array([kind.weight for kind in _KINDS]) / sum(kind.weight for kind in _KINDS)


def render_solid(rng: Rng, size: int) -> DrawnObject:
    """Render a random solid object on a size x size canvas and crop it."""
    while True:
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_WEIGHTS))]
        turn = rotation(1, between(rng, -kind.turn, kind.turn))
        cutout = render_mesh(
            rng, transform(kind.build(rng), turn=turn), between(rng, *kind.above), size, chance(rng, kind.hairy)
        )
        if cutout is not None:
            return cutout


def render_mesh(rng: Rng, mesh: Mesh, above: float, size: int, furry: bool = False) -> DrawnObject | None:
    """Render a mesh with the camera `above` degrees over the horizon; None where too little of it is visible."""
    low, high = bounds(mesh)
    mesh = transform(mesh, (-(low + high) / 2).tolist())
    parts = flatten(mesh)
    radius = float(np.linalg.norm(parts.points, axis=1).max())
    view = fit_view(parts.points, rotation(0, above), radius * between(rng, 2.6, 8), size)
    lamp = random_lamp(rng)
    canvas, corners = rasterize(mesh, parts, view, size)
    light = light_atlas(rng, mesh, parts, view, lamp)
    rgb, alpha = paint(atlas_coordinates(canvas, corners, parts), texture_atlas(rng, mesh, parts), light)
    if furry:
        rgb, alpha = add_fur(rng, rgb, alpha)
    cutout = crop_visible(rgb, alpha, True, False)
    if cutout is None or above < 3:
        return cutout
    shadow = floor_shadow(rng, parts, view, lamp, size // 2)
    return replace(cutout, shadow=_crop_shadow(shadow, alpha))


def _crop_shadow(shadow: Float, alpha: Float) -> NDArray[np.uint8]:
    """Crop the shadow of a canvas to the square that the shadow of its cut-out covers."""
    x, y, w, h = visible_box(to_bytes(alpha))
    size, side = alpha.shape[0], 2 * max(w, h)
    left, top = x + (w - side) / 2, y + (h - side) / 2
    scale = _SHADOW / side
    # One pixel of the shadow's picture is four of the canvas, whose corner is at a quarter of the picture.
    shift_x, shift_y = -(size / 2 + left) * scale, -(size / 2 + top) * scale
    matrix = np.array([[4 * scale, 0, shift_x], [0, 4 * scale, shift_y]])
    square = np.asarray(cv2.warpAffine(shadow, matrix, (_SHADOW, _SHADOW)), np.float32)
    return to_bytes(square * _FADE)
