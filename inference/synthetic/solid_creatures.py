"""Solid heads, animals and people, with simple shapes and little detail."""

from collections.abc import Sequence

import numpy as np

from . import contours as shape
from .flat_shading import Finish
from .mesh import Material, Mesh, add_bumps, material, matt_material, rotation, superellipsoid, transform, tube
from .sampling import Rng, between, chance
from .textures import random_colour, similar_colour, skin_colour

Point = tuple[float, float, float]


def head(rng: Rng) -> Mesh:
    """A head, sometimes on shoulders."""
    mesh = _skull(rng)
    if chance(rng, 0.4):
        mesh += transform([add_bumps(rng, superellipsoid((0.95, 1.1, 0.7), material(rng)), 0.1)], (0, -1.6, -0.3))
    return mesh


def _skull(rng: Rng) -> Mesh:
    """A head with a radius of about 1, with muzzle, nose, ears and eyes; it looks along z."""
    tone = random_colour(rng) if chance(rng, 0.7) else skin_colour(rng)
    coat, light = matt_material(tone, pattern=True), matt_material(similar_colour(rng, tone, 0.3), pattern=True)
    wide, tall, deep = between(rng, 0.75, 1.05), between(rng, 0.75, 1.1), between(rng, 0.8, 1)
    mesh: Mesh = [add_bumps(rng, superellipsoid((wide, tall, deep), coat, cells=(30, 44)), 0.08)]
    snout = (between(rng, 0.25, 0.5), between(rng, 0.2, 0.4), between(rng, 0.2, 0.6))
    mesh += transform([superellipsoid(snout, light)], (0, -0.3, deep * 0.85))
    dark = Material(np.full(3, between(rng, 0.01, 0.2), np.float32), Finish(0.8, 40, 0, 0), False)
    mesh += transform([superellipsoid((0.12, 0.08, 0.1), dark, cells=(10, 14))], (0, -0.2, deep * 0.85 + snout[2]))
    eye = between(rng, 0.07, 0.17)
    ear = superellipsoid((between(rng, 0.15, 0.4), between(rng, 0.25, 0.8), between(rng, 0.08, 0.2)), light,
                         (between(rng, 0.8, 1.6), 1))  # fmt: skip
    lean, up = between(rng, 10, 60), tall * between(rng, 0.3, 0.7) + float(ear.points[..., 1].max()) * 0.5
    for side in (-1, 1):
        mesh += transform(
            [superellipsoid((eye, eye, eye), dark, cells=(12, 16))], (side * wide * 0.42, 0.12, deep * 0.86)
        )
        mesh += transform([ear], (side * wide * 0.7, up, 0), rotation(2, -side * lean))
    return mesh


def _limb(points: Sequence[Point], thick: tuple[float, float], surface: Material) -> Mesh:
    line = shape.chaikin(np.array(points, np.float32), 2, closed=False)
    return [tube(line, np.linspace(*thick, len(line), dtype=np.float32), surface, 12)]


def quadruped(rng: Rng) -> Mesh:
    """An animal, or a toy animal, on four legs."""
    tone = random_colour(rng)
    coat = matt_material(tone, pattern=True) if chance(rng, 0.7) else material(rng, tone)
    length, girth, height = between(rng, 0.5, 0.95), between(rng, 0.28, 0.5), between(rng, 0.3, 0.9)
    back, thick = height + girth * 0.6, between(rng, 0.07, 0.16)
    body = superellipsoid((length, girth, girth * between(rng, 0.7, 1)), coat, cells=(24, 36))
    mesh = transform([add_bumps(rng, body, 0.08)], (0, back, 0))
    for x, z in ((-0.7, -0.5), (-0.7, 0.5), (0.7, -0.5), (0.7, 0.5)):
        foot = x * length + rng.normal(0, 0.08)
        leg = [(x * length * 0.9, back, z * girth), (foot, height * 0.5, z * girth), (foot, 0.08, z * girth)]
        mesh += _limb(leg, (thick * 1.4, thick), coat)
    neck = (length * 1.05 + between(rng, 0, 0.3), height + girth + between(rng, 0.1, 0.7), 0.0)
    mesh += _limb([(length * 0.7, back, 0), neck], (girth * 0.7, girth * 0.5), coat)
    mesh += transform(_skull(rng), neck, rotation(1, 90 + rng.normal(0, 30)), between(rng, 0.25, 0.45))
    if chance(rng, 0.7):
        end = (-length - between(rng, 0.2, 0.7), height + between(rng, -0.2, 1.2), rng.normal(0, 0.2))
        mesh += _limb([(-length * 0.9, back, 0), (-length - 0.3, height + girth, 0), end], (0.1, 0.05), coat)
    return mesh


def person(rng: Rng) -> Mesh:
    """A person who stands, walks or reaches, with limbs, trunk, head, hair and clothes."""
    flesh, top, low = (
        matt_material(skin_colour(rng)),
        matt_material(random_colour(rng), pattern=True),
        matt_material(random_colour(rng), pattern=True),
    )
    wide = between(rng, 0.2, 0.3)
    mesh = transform([superellipsoid((wide, 0.42, wide * 0.6), top, (0.7, 0.8), (22, 28))], (0, 1.25, 0))
    mesh += transform([superellipsoid((wide * 0.9, 0.2, wide * 0.62), low, (0.8, 0.8), (14, 24))], (0, 0.9, 0))
    for side in (-1, 1):
        mesh += _leg(rng, side * wide, low) + _arm(rng, side * wide, top, flesh)
    mesh += _limb([(0, 1.55, 0), (0, 1.8, 0)], (0.075, 0.07), flesh)
    mesh += transform([superellipsoid((0.14, 0.19, 0.16), flesh, cells=(18, 24))], (0, 1.9, 0.02))
    hair = superellipsoid((0.165, between(rng, 0.15, 0.3), 0.17), matt_material(random_colour(rng), pattern=True))
    mesh += transform([add_bumps(rng, hair, 0.03)], (0, 1.97, -0.05))
    if chance(rng, 0.25):  # a skirt or coat
        cloth = superellipsoid((wide * 1.5, between(rng, 0.3, 0.6), wide * 1.3), low, (1.2, 1), (20, 28))
        mesh += transform([cloth], (0, 0.85, 0))
    return mesh


def _leg(rng: Rng, x: float, cloth: Material) -> Mesh:
    stride = rng.normal(0, 0.2)
    leg = [(x * 0.5, 0.9, 0.0), (x * 0.6, 0.48, 0.5 * stride + 0.05), (x * 0.6, 0.06, stride)]
    shoe = superellipsoid((0.08, 0.06, 0.17), material(rng), (0.6, 0.8), (10, 16))
    return _limb(leg, (0.13, 0.08), cloth) + transform([shoe], (x * 0.6, 0.06, stride + 0.08))


def _arm(rng: Rng, x: float, cloth: Material, flesh: Material) -> Mesh:
    side = np.sign(x)
    elbow = (x + side * between(rng, 0.05, 0.3), 1.15 + rng.normal(0, 0.15), between(rng, -0.1, 0.2))
    hand = (x + side * between(rng, -0.1, 0.5), 0.95 + between(rng, 0, 0.8), between(rng, 0, 0.4))
    upper = _limb([(x * 0.85, 1.5, 0), elbow], (0.1, 0.075), cloth)
    lower = _limb([elbow, hand], (0.065, 0.05), flesh if chance(rng, 0.5) else cloth)
    return upper + lower + transform([superellipsoid((0.06, 0.08, 0.06), flesh, cells=(10, 14))], hand)
