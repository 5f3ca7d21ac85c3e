"""Take pictures of solid objects: a mesh, a camera, a lamp, and the cut-out with the shadow on its floor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from . import bodies, solids, vessels
from .coat import furred
from .contours import Float, Rng, between, chance
from .drawn_object import DrawnObject, visible_box, visible_part
from .lamps import cast, random_lamp, shades
from .mesh import Mesh, bounds, placed, rotation
from .pixels import to_bytes
from .raster import aimed, painted, places, soup, textures, visible

_SHADOW = 96
"""Side of a shadow's picture; soft as it is, it needs no more."""
_RAMP = np.clip((_SHADOW / 2 - np.abs(np.arange(_SHADOW) + 0.5 - _SHADOW / 2)) / 10, 0, 1).astype(np.float32)
_FADE = np.outer(_RAMP, _RAMP)
"""So that a long shadow ends softly where its picture does."""


@dataclass(frozen=True)
class _Kind:
    """How a thing is built, how often it comes, and from where one looks at it: elevation in degrees, turn if not all
    around. `hairy` is the chance of fur."""

    build: Callable[[Rng], Mesh]
    weight: float
    above: tuple[float, float]
    turn: float = 180.0
    hairy: float = 0.0


_KINDS = (
    _Kind(vessels.cup, 0.17, (8, 75)), _Kind(vessels.bottle, 0.09, (0, 45)), _Kind(solids.carton, 0.11, (5, 60)),
    _Kind(solids.plate, 0.05, (10, 80)), _Kind(solids.rings, 0.05, (0, 80)),
    _Kind(solids.spectacles, 0.03, (0, 40), 70),
    _Kind(solids.wires, 0.03, (0, 60)), _Kind(solids.furniture, 0.06, (5, 40)), _Kind(vessels.plant, 0.05, (5, 60)),
    _Kind(solids.bag, 0.04, (0, 40)), _Kind(solids.many, 0.1, (25, 88)), _Kind(solids.heap, 0.06, (5, 60)),
    _Kind(solids.tool, 0.04, (0, 70)), _Kind(bodies.head, 0.06, (-10, 30), 45, 0.7),
    _Kind(bodies.beast, 0.04, (0, 30), 180, 0.6),
    _Kind(bodies.person, 0.04, (-5, 25)),
)  # fmt: skip
_WEIGHTS = np.array([kind.weight for kind in _KINDS]) / sum(kind.weight for kind in _KINDS)


def render_solid(rng: Rng, size: int) -> DrawnObject:
    """A random solid object drawn on a size x size canvas and cropped."""
    while True:
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_WEIGHTS))]
        turn = rotation(1, between(rng, -kind.turn, kind.turn))
        cutout = shot(rng, placed(kind.build(rng), turn=turn), between(rng, *kind.above), size, chance(rng, kind.hairy))
        if cutout is not None:
            return cutout


def shot(rng: Rng, mesh: Mesh, above: float, size: int, furry: bool = False) -> DrawnObject | None:
    """A mesh seen from `above` degrees over its horizon, furry or not; None where next to nothing of it shows."""
    low, high = bounds(mesh)
    mesh = placed(mesh, (-(low + high) / 2).tolist())
    parts = soup(mesh)
    radius = float(np.linalg.norm(parts.points, axis=1).max())
    view = aimed(parts.points, rotation(0, above), radius * between(rng, 2.6, 8), size)
    lamp = random_lamp(rng)
    canvas, corners = visible(mesh, parts, view, size)
    light = shades(rng, mesh, parts, view, lamp)
    rgb, alpha = painted(places(canvas, corners, parts), textures(rng, mesh, parts), light)
    if furry:
        rgb, alpha = furred(rng, rgb, alpha)
    cutout = visible_part(rgb, alpha, True, False)
    if cutout is None or above < 3:
        return cutout
    shadow = cast(rng, parts, view, lamp, size // 2)
    return replace(cutout, shadow=_around(shadow, alpha))


def _around(shadow: Float, alpha: Float) -> NDArray[np.uint8]:
    """The shadow of a canvas, cut to the square that a cut-out's shadow covers."""
    x, y, w, h = visible_box(to_bytes(alpha))
    size, side = alpha.shape[0], 2 * max(w, h)
    left, top = x + (w - side) / 2, y + (h - side) / 2
    scale = _SHADOW / side
    # One pixel of the shadow's picture is four of the canvas, whose corner lies a quarter of the way in.
    shift_x, shift_y = -(size / 2 + left) * scale, -(size / 2 + top) * scale
    matrix = np.array([[4 * scale, 0, shift_x], [0, 4 * scale, shift_y]])
    square = np.asarray(cv2.warpAffine(shadow, matrix, (_SHADOW, _SHADOW)), np.float32)
    return to_bytes(square * _FADE)
