"""Solid household objects as meshes one or two units wide; each call draws a different one."""

from dataclasses import replace

import numpy as np

from . import contours as shape
from .mesh import (
    Material,
    Mesh,
    add_bumps,
    bow,
    box,
    circle,
    disc,
    loft,
    material,
    rod,
    rotation,
    subdivide,
    superellipsoid,
    transform,
    tube,
)
from .sampling import Float, Rng, between, chance
from .textures import hsv, random_colour, similar_colour


def carton(rng: Rng) -> Mesh:
    """A box, book, device or crate; sometimes rounded, sometimes a stack of them."""
    mesh: Mesh = []
    top = 0.0
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.7, 0.14, 0.1, 0.06]))):
        extent = (between(rng, 0.3, 1), between(rng, 0.04, 0.9), between(rng, 0.1, 0.9))
        surfaces = [material(rng)] if chance(rng, 0.5) else [material(rng) for _ in range(3)]
        if chance(rng, 0.35):
            piece: Mesh = [superellipsoid(extent, surfaces[0], (between(rng, 0.08, 0.4), between(rng, 0.08, 0.5)),
                                          (26, 48))]  # fmt: skip
        else:
            piece = box(extent, surfaces)
        top += extent[1]
        mesh += transform(piece, (rng.normal(0, 0.05), top, rng.normal(0, 0.05)), rotation(1, rng.normal(0, 10)))
        top += extent[1]
    return mesh


def plate(rng: Rng) -> Mesh:
    """A thick flat shape such as a coin, badge, gear, tile or frame, lying, leaning or upright."""
    contour = (shape.blob, shape.superellipse, shape.star_spline, shape.regular_polygon)[int(rng.integers(4))](rng)
    contour = shape.fit(contour, 1, between(rng, 0.5, 1))
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    order = np.argsort(np.arctan2(contour[:, 1], contour[:, 0]))
    around = np.arctan2(contour[order, 1], contour[order, 0])
    ring = np.stack([np.interp(angle, around, contour[order, k], period=2 * np.pi) for k in (0, 1)], axis=1)
    t, dome = between(rng, 0.02, 0.25), between(rng, 0, 0.15)
    edge = [(0, -t), (0.96, -t), (1, -t * 0.6), (1, t * 0.6), (0.96, t), (between(rng, 0.5, 0.9), t + dome)]
    if chance(rng, 0.2):  # a hole
        r = between(rng, 0.3, 0.75)
        edge = [(r, -t), (1, -t), (1, t), (r, t), (r, -t)]
    else:
        edge.append((0, t + dome))
    mesh: Mesh = [loft(subdivide(edge, 0.09), material(rng), ring.astype(np.float32))]
    return transform(mesh, turn=rotation(0, 90 if chance(rng, 0.4) else between(rng, 0, 40)))


def rings(rng: Rng) -> Mesh:
    """One or several rings, or a chain; the background is visible through them."""
    surface = material(rng)
    thick = between(rng, 0.04, 0.35)
    ring = tube(circle(1, 54, between(rng, 0.6, 1)), thick, surface, 14, closed=True)
    count = int(rng.choice([1, 2, 4], p=[0.6, 0.2, 0.2]))
    mesh: Mesh = []
    for i in range(count):
        turn = rotation(0, 90 * (i % 2) if count == 4 else between(rng, 0, 90)) @ rotation(2, rng.normal(0, 15))
        mesh += transform([ring], ((i - count / 2) * between(rng, 1.1, 1.5), 0, 0), turn)
    return transform(mesh, turn=rotation(1, between(rng, 0, 180)))


def spectacles(rng: Rng) -> Mesh:
    """Spectacles with rims, a bridge and temples, and sometimes dark lenses."""
    frame = material(rng, pattern=False)
    wide, tall, thick = between(rng, 0.38, 0.48), between(rng, 0.6, 1.0), between(rng, 0.015, 0.06)
    mesh: Mesh = []
    for side in (-1, 1):
        x = side * 0.5
        mesh += transform([tube(circle(wide, 40, tall), thick, frame, 8, closed=True)], (x, 0, 0))
        end = between(rng, -0.4, -0.2)
        temple = np.array([(x + side * wide, 0.1, 0), (x + side * wide, 0.1, -1.0), (x + side * wide, end, -1.35)])
        mesh.append(tube(shape.chaikin(temple.astype(np.float32), 3, closed=False), thick * 0.9, frame, 8))
    bridge = np.array([(wide - 0.5, 0.05, 0), (0, 0.14, 0), (0.5 - wide, 0.05, 0)], np.float32)
    mesh.append(tube(shape.chaikin(bridge, 2, closed=False), thick, frame, 8))
    if chance(rng, 0.35):
        dark = material(rng, hsv(rng.random(), 0.4, between(rng, 0.03, 0.3)), pattern=False)
        face = transform([disc(wide, 0, dark)], turn=rotation(0, 90))[0]
        face = replace(face, points=face.points * np.array([1, tall, 1], np.float32), double=True)
        mesh += transform([face], (-0.5, 0, 0)) + transform([face], (0.5, 0, 0))
    return mesh


def cables(rng: Rng) -> Mesh:
    """Cables and springs in space, sometimes with a plug."""
    mesh: Mesh = []
    surface = material(rng, pattern=chance(rng, 0.3))
    for _ in range(int(rng.integers(1, 4))):
        line = _spring(rng) if chance(rng, 0.3) else _cable(rng)
        mesh.append(tube(line, between(rng, 0.02, 0.1), surface, 9))
        if chance(rng, 0.5):
            end = superellipsoid((0.16, 0.2, 0.14), material(rng), (between(rng, 0.3, 1), 0.6), (12, 18))
            mesh += transform([end], line[-1])
    return mesh


def _spring(rng: Rng) -> Float:
    t = np.linspace(0, 1, 110)
    angle, r = between(rng, 3, 8) * 2 * np.pi * t, between(rng, 0.2, 0.6)
    return np.stack((r * np.cos(angle), 2 * t - 1, r * np.sin(angle)), axis=1).astype(np.float32)


def _cable(rng: Rng) -> Float:
    control = rng.normal(0, 0.55, (int(rng.integers(4, 9)), 3)).astype(np.float32)
    line = shape.chaikin(control, 4, closed=False)
    return line[:: max(1, len(line) // 90)]


def furniture(rng: Rng) -> Mesh:
    """A chair, stool, table or bench."""
    wood = material(rng)
    legs = wood if chance(rng, 0.6) else material(rng)
    w, d, h = between(rng, 0.4, 1.1), between(rng, 0.35, 0.6), between(rng, 0.5, 1)
    t, spread, thick = between(rng, 0.03, 0.1), between(rng, 0.85, 1.15), between(rng, 0.025, 0.09)
    cushion = [superellipsoid((w, t + 0.03, d), wood, (0.4, 0.35))]
    mesh = transform(cushion if chance(rng, 0.4) else box((w, t, d), [wood]), (0, h, 0))
    for x, z in ((-w, -d), (-w, d), (w, -d), (w, d)):
        mesh.append(rod((x * 0.85, h, z * 0.85), (x * spread, 0, z * spread), thick, legs))
    if chance(rng, 0.6):
        mesh += transform(_backrest(rng, w, legs), (0, h, -d))
    return mesh


def _backrest(rng: Rng, w: float, legs: Material) -> Mesh:
    tall = between(rng, 0.5, 1.1)
    mesh: Mesh = [rod((x * w, 0, 0), (x * w, tall, -0.07), 0.05, legs) for x in (-0.9, 0.9)]
    if chance(rng, 0.5):
        return mesh + transform(box((w * 0.95, tall * 0.35, 0.05), [material(rng)]), (0, tall * 0.7, -0.05))
    for y in np.linspace(0.25, 0.95, int(rng.integers(2, 5))) * tall:
        mesh.append(rod((-w, float(y), -0.05), (w, float(y), -0.05), between(rng, 0.03, 0.07), legs))
    return mesh


def bag(rng: Rng) -> Mesh:
    """A soft bag, basket or case with one or two straps."""
    w, h, d = between(rng, 0.5, 0.9), between(rng, 0.4, 0.8), between(rng, 0.15, 0.4)
    cloth = material(rng)
    powers = (between(rng, 0.3, 0.7), between(rng, 0.3, 0.8))
    mesh: Mesh = [add_bumps(rng, superellipsoid((w, h, d), cloth, powers, (26, 40)), 0.05)]
    strap = material(rng, similar_colour(rng, cloth.tone, 0.2))
    x, rise = between(rng, 0.3, 0.8) * w, between(rng, 0.3, 0.9)
    for z in (-0.3 * d, 0.3 * d) if chance(rng, 0.5) else (0.0,):
        arch = np.array([(-x, h * 0.7, z), (-x, h + rise, z), (x, h + rise, z), (x, h * 0.7, z)], np.float32)
        mesh.append(tube(shape.chaikin(arch, 4, closed=False)[::2], between(rng, 0.02, 0.07), strap, 8))
    return mesh


def piece(rng: Rng) -> Mesh:
    """A small item that is often shown in numbers: fruit, stone, pill, coin, screw or die."""
    surface, kind = material(rng), rng.random()
    if kind < 0.35:
        extent = (between(rng, 0.6, 1), between(rng, 0.5, 1), between(rng, 0.6, 1))
        fruit = superellipsoid(extent, surface, (between(rng, 0.5, 1.1), between(rng, 0.7, 1.0)), (16, 26))
        fruit = add_bumps(rng, fruit, between(rng, 0, 0.15))
        return [bow(fruit, between(rng, -0.4, 0.4)) if chance(rng, 0.2) else fruit]
    if kind < 0.6:  # coin, button, washer, pill
        t = between(rng, 0.04, 0.4)
        hole = between(rng, 0.25, 0.6) if chance(rng, 0.25) else 0.0
        edge = [(hole, -t), (0.92, -t), (1, -t * 0.5), (1, t * 0.5), (0.92, t), (hole, t)]
        return [loft(subdivide([*edge, edge[0]] if hole else edge, 0.2), surface, shape.ellipse(1, 1, 28))]
    if kind < 0.75:  # screw, nail, pencil
        r = between(rng, 0.08, 0.2)
        side = [(0, -1.2), (r * 0.4, -1), (r, -0.8), (r, 0.8), (r * 2.2, 0.82), (r * 2, 0.95), (0, 1)]
        turn = rotation(1, rng.random() * 360) @ rotation(2, 90 if chance(rng, 0.7) else 0)
        return transform([loft(subdivide(side, 0.15), surface, shape.ellipse(1, 1, 16))], turn=turn)
    if kind < 0.88:
        return box((1, between(rng, 0.2, 1), between(rng, 0.4, 1)), [surface], 4)
    return [tube(circle(1, 30), between(rng, 0.1, 0.35), surface, 9, closed=True)]


def repeated_items(rng: Rng) -> Mesh:
    """Rows, grids or a scatter of equal small items on the floor, with gaps between them."""
    one = piece(rng)
    low = min(float(patch.points[..., 1].min()) for patch in one)
    one = transform(one, (0, -low, 0))
    gap = between(rng, 2.0, 3.6)
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(3, 7))
    loose = between(rng, 0, 0.25) if chance(rng, 0.6) else 0.0
    mesh: Mesh = []
    for i in range(rows):
        for j in range(columns):
            if chance(rng, 0.15) and mesh:
                continue
            place = np.array([(j - columns / 2) * gap, 0, (i - rows / 2) * gap]) + rng.normal(0, loose, 3) * [1, 0, 1]
            turn = rotation(1, rng.random() * 360 if loose else 0)
            mesh += transform(one, place, turn, float(np.exp(rng.normal(0, loose))))
    return mesh


def stacked_shapes(rng: Rng) -> Mesh:
    """Random shapes that touch and overlap, such as a toy, a sculpture or a still life."""
    mesh: Mesh = []
    x = 0.0
    for _ in range(int(rng.integers(1, 5))):
        extent = (between(rng, 0.3, 0.9), between(rng, 0.3, 1.1), between(rng, 0.3, 0.9))
        body = superellipsoid(extent, material(rng), (between(rng, 0.2, 1.4), between(rng, 0.3, 1.2)))
        body = add_bumps(rng, body, between(rng, 0, 0.25))
        mesh += transform([body], (x, extent[1], rng.normal(0, 0.3)), rotation(1, rng.random() * 360))
        x += extent[0] * between(rng, 0.5, 1.6)
    if chance(rng, 0.3):
        mesh += transform([tube(circle(0.5, 40), 0.12, material(rng), 10, closed=True)], (x, 0.5, 0.3))
    return mesh


def tool(rng: Rng) -> Mesh:
    """A long handle with a head, such as a spoon, hammer, brush or umbrella."""
    grip = material(rng)
    y = np.linspace(-1, 1, 24)
    line = np.stack((between(rng, -0.15, 0.15) * y**2, y, np.zeros(24)), axis=1).astype(np.float32)
    thick = between(rng, 0.03, 0.12) * (1 + between(rng, 0, 0.5) * np.cos(y * between(rng, 1, 6)))
    end = (_block, _blade, _loop, _cover)[int(rng.choice(4, p=[0.3, 0.3, 0.2, 0.2]))](rng, grip)
    mesh = [tube(line, thick.astype(np.float32), grip, 12), *transform(end, line[-1])]
    return transform(mesh, turn=rotation(2, rng.normal(0, 25)) if chance(rng, 0.6) else rotation(0, 90))


def _block(rng: Rng, grip: Material) -> Mesh:
    return box((between(rng, 0.2, 0.6), 0.14, 0.14), [material(rng)])


def _blade(rng: Rng, grip: Material) -> Mesh:
    extent = (between(rng, 0.15, 0.45), between(rng, 0.15, 0.5), between(rng, 0.04, 0.3))
    return [superellipsoid(extent, material(rng))]


def _loop(rng: Rng, grip: Material) -> Mesh:
    return transform([tube(circle(between(rng, 0.2, 0.5), 40), 0.06, grip, 9, closed=True)], (0, 0.3, 0))


def _cover(rng: Rng, grip: Material) -> Mesh:
    wide = between(rng, 0.3, 1.1)
    line = np.array([(wide, -0.3), (wide * 0.85, 0.05), (wide * 0.4, 0.25), (0, 0.3)], np.float32)
    return [replace(loft(shape.chaikin(line, 2, closed=False), Material(random_colour(rng), grip.finish)), double=True)]
