"""Solid vessels: cups and bowls, bottles and vases, pots with plants."""

import numpy as np

from . import contours as shape
from .mesh import (
    Material,
    Mesh,
    Patch,
    add_bumps,
    disc,
    loft,
    material,
    matt_material,
    rotation,
    subdivide,
    superellipse,
    superellipsoid,
    transform,
    tube,
)
from .sampling import Float, Rng, between, chance
from .textures import hsv, similar_colour


def _section(rng: Rng) -> Float | None:
    """The cross-section of a vessel: mostly round (None), else oval, rounded square or fluted."""
    if chance(rng, 0.75):
        return None
    if chance(rng, 0.7):
        stretch = np.array([1, between(rng, 0.5, 1)], np.float32)
        return superellipse(between(rng, 0.2, 0.8), np.linspace(0, 4, 56, endpoint=False)) * stretch
    flutes, depth = int(rng.integers(6, 16)), between(rng, 0.02, 0.1)
    circle = shape.ellipse(1, 1, 72)
    waves = np.cos(flutes * np.arctan2(circle[:, 1], circle[:, 0]))
    return np.asarray(circle * (1 + depth * waves)[:, None], np.float32)


def _wall(rng: Rng) -> Float:
    """The outer profile of an open vessel from its foot to its rim, n x 2 (radius, height)."""
    kind, h = rng.random(), between(rng, 0.5, 1.3)
    foot, rim = between(rng, 0.3, 0.6), between(rng, 0.5, 0.75)
    if kind < 0.35:  # cup, pot, bucket
        line = [(foot, 0), ((foot + rim) / 2 + between(rng, -0.05, 0.12), h / 2), (rim, h)]
    elif kind < 0.7:  # bowl, pan
        line = [(foot * 0.7, 0), (rim * 0.75, h * 0.12), (rim * 1.1, h * 0.35), (rim * 1.3, h * between(rng, 0.5, 0.7))]
    else:  # mug, tin
        line = [(rim, 0), (rim, h)]
    points = np.array(line, np.float32)
    return shape.chaikin(points, 2, closed=False) if len(line) > 2 and chance(rng, 0.8) else points


def _hollow(rng: Rng) -> tuple[Float, float, float]:
    """The closed profile of an open vessel, and the height and inner radius of the surface of a filling."""
    wall = _wall(rng)
    thick = between(rng, 0.02, 0.09)
    inside = wall[::-1] - np.array([thick, 0], np.float32)
    inside = inside[inside[:, 1] > thick]
    inside[:, 0] = np.maximum(inside[:, 0], 0.05)
    level = between(rng, 0.35, 0.93) * float(wall[-1, 1])
    reach = float(np.interp(level, inside[::-1, 1], inside[::-1, 0]))
    floor = np.array([(max(0.05, inside[-1, 0] - 0.02), thick), (0, thick)], np.float32)
    return np.concatenate((np.array([[0, 0]], np.float32), wall, inside, floor)), level, reach


def handle(rng: Rng, profile: Float, surface: Material) -> Patch:
    """A handle on the outside of a profile; the background is visible through it."""
    tall = float(profile[:, 1].max())
    outside = profile[1 : int(profile[:, 1].argmax()) + 1]
    low, high = between(rng, 0.12, 0.35) * tall, between(rng, 0.7, 0.95) * tall
    t = np.linspace(-np.pi / 2, np.pi / 2, 22)
    y = (low + high) / 2 + np.sin(t) * (high - low) / 2
    x = np.interp(y, outside[:, 1], outside[:, 0]) - 0.02 + np.cos(t) * between(rng, 0.18, 0.42)
    line = np.stack((x, y, np.zeros_like(x)), axis=1).astype(np.float32)
    return tube(line, between(rng, 0.03, 0.09), surface, 9)


def filling(rng: Rng, level: float, reach: float, section: Float | None) -> Mesh:
    """The filling of a vessel: a drink, soil, or pieces."""
    kind = rng.random()
    if kind < 0.55:
        return [_drink(rng, level, reach, section)]
    tone = hsv(between(rng, 0.02, 0.12), 0.5, between(rng, 0.08, 0.6)) if kind < 0.75 else None
    mound = [(reach, level), (reach * 0.7, level + 0.04), (reach * 0.35, level + between(rng, 0, 0.2))]
    top = (0.0, mound[-1][1])
    heap: Mesh = [add_bumps(rng, loft(subdivide([*mound, top], 0.06), material(rng, tone), section), 0.03)]
    return heap if kind < 0.75 or section is not None else heap + _pieces(rng, level, reach)


def _drink(rng: Rng, level: float, reach: float, section: Float | None) -> Patch:
    dark = hsv(between(rng, 0.03, 0.1), between(rng, 0.4, 0.9), between(rng, 0.08, 0.4))
    drink = material(rng, dark if chance(rng, 0.6) else None, pattern=section is None and chance(rng, 0.3))
    if section is None:
        return disc(reach, level, drink)
    return loft(np.stack((np.linspace(reach, 0, 8), np.full(8, level)), axis=1).astype(np.float32), drink, section)


def _pieces(rng: Rng, level: float, reach: float) -> Mesh:
    size = reach * between(rng, 0.2, 0.45)
    piece = superellipsoid((size, size * between(rng, 0.6, 1), size), material(rng), cells=(12, 18))
    mesh: Mesh = []
    for _ in range(int(rng.integers(3, 9))):
        a, r = rng.random() * 2 * np.pi, (reach - size) * np.sqrt(rng.random())
        mesh += transform([piece], (r * np.cos(a), level + between(rng, 0, 0.12), r * np.sin(a)))
    return mesh


def cup(rng: Rng) -> Mesh:
    """A cup, mug, bowl, pot or bucket, empty or filled, sometimes with a handle or a saucer."""
    surface, section = material(rng), _section(rng)
    profile, level, reach = _hollow(rng)
    mesh: Mesh = [loft(subdivide(profile, 0.07), surface, section)]
    if chance(rng, 0.65):
        mesh += filling(rng, level, reach, section)
    if chance(rng, 0.45) and section is None:
        mesh.append(handle(rng, profile, surface))
        if chance(rng, 0.15):
            mesh += transform(mesh[-1:], turn=rotation(1, 180))
    if chance(rng, 0.25):
        wide = between(rng, 1.1, 1.7) * float(profile[1, 0]) + 0.25
        plate = [(0, -0.06), (wide * 0.6, -0.06), (wide, 0.03), (wide, 0.06), (wide * 0.6, -0.01), (0, -0.01)]
        mesh.append(loft(subdivide(plate, 0.1), surface if chance(rng, 0.7) else material(rng)))
    return mesh


def bottle(rng: Rng) -> Mesh:
    """A closed body of revolution such as a bottle, vase, jar, can or lamp, with lid and label."""
    surface, section = material(rng), _section(rng)
    side = shape.profile(rng)[::-1] * np.array([1, -1], np.float32)
    side[:, 0] = np.maximum(side[:, 0], 0.03)
    profile = np.concatenate(([[0, side[0, 1]]], side, [[0, side[-1, 1]]])).astype(np.float32)
    mesh: Mesh = [loft(subdivide(profile, 0.06), surface, section)]
    top, reach = float(side[-1, 1]), float(side[-1, 0])
    if chance(rng, 0.5):
        tall, wide = between(rng, 0.05, 0.3), reach * between(rng, 0.95, 1.25)
        lid = [(0, top - 0.02), (wide, top - 0.02), (wide * between(rng, 0.6, 1), top + tall), (0, top + tall)]
        mesh.append(loft(subdivide(lid, 0.06), material(rng), section))
    if chance(rng, 0.4):  # a label: the same wall, slightly further out
        low, high = np.sort(between(rng, -0.9, 0.7) + np.array([0, between(rng, 0.2, 0.7)]))
        band = subdivide(side, 0.06)
        band = band[(band[:, 1] > low) & (band[:, 1] < high)] + np.array([0.012, 0], np.float32)
        if len(band) > 2:
            mesh.append(loft(band, material(rng), section))
    if chance(rng, 0.15) and section is None:
        mesh.append(handle(rng, profile - np.array([0, profile[0, 1]], np.float32), surface))
        mesh[-1:] = transform(mesh[-1:], (0, float(profile[0, 1]), 0))
    return mesh


def plant(rng: Rng) -> Mesh:
    """A potted plant with thin stems and leaves."""
    profile, level, reach = _hollow(rng)
    green = hsv(between(rng, 0.18, 0.42), between(rng, 0.3, 0.9), between(rng, 0.2, 0.8))
    stalk, leaf_face = matt_material(similar_colour(rng, green, 0.2)), Material(green, material(rng).finish)
    mesh: Mesh = [loft(subdivide(profile, 0.08), material(rng))]
    soil = matt_material(hsv(0.07, 0.5, between(rng, 0.08, 0.3)), pattern=True)
    mesh.append(disc(reach, level, soil))
    blade = _leaf(rng, leaf_face)
    for _ in range(int(rng.integers(4, 13))):
        a, lean, tall = rng.random() * 360, between(rng, 0.1, 0.8), between(rng, 0.5, 1.6)
        t = np.linspace(0, 1, 12)
        line = np.stack((lean * t**2, level - 0.05 + tall * t, np.zeros(12)), axis=1).astype(np.float32)
        turn = rotation(1, a)
        mesh += transform([tube(line, between(rng, 0.012, 0.03), stalk, 6)], turn=turn)
        for at in (11, *rng.integers(4, 11, int(rng.integers(0, 3)))):
            aim = turn @ rotation(1, rng.normal(0, 60)) @ rotation(2, between(rng, -50, 40))
            mesh += transform([blade], turn @ line[at], aim, between(rng, 0.3, 0.7))
    return mesh


def _leaf(rng: Rng, surface: Material) -> Patch:
    """A two-sided leaf from the origin along x."""
    t = np.linspace(0, 1, 14)
    width = between(rng, 0.1, 0.4) * np.sin(np.pi * (0.02 + 0.96 * t)) ** between(rng, 0.6, 1.2)
    across = np.linspace(-1, 1, 5)
    points = np.empty((14, 5, 3), np.float32)
    points[..., 0] = t[:, None]
    points[..., 1] = -between(rng, 0, 0.6) * t[:, None] ** 2 + between(rng, 0, 0.5) * width[:, None] * np.abs(across)
    points[..., 2] = width[:, None] * across
    return Patch(points, surface, double=True)
