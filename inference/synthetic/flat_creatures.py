"""Flat animals, people and other objects with fur or hair."""

import numpy as np

from . import contours as shape
from .flat_canvas import Canvas, furry_shape
from .flat_shading import Finish
from .sampling import Float, between, chance
from .textures import random_colour, similar_colour, skin_colour

_TORSO = ((-0.22, -0.2), (-0.25, 0.0), (-0.7, 0.15), (-0.95, 0.5), (-1.0, 1.05), (1.0, 1.05), (0.95, 0.5), (0.7, 0.15),
          (0.25, 0.0), (0.22, -0.2))  # fmt: skip


def animal(canvas: Canvas) -> None:
    """An animal with body, head, ears, legs and tail, furry or smooth."""
    rng = canvas.rng
    tone = random_colour(rng)
    length, count = between(rng, 0.02, 0.12), int(rng.integers(200, 700))
    pieces: list[Float] = []
    bx, by = between(rng, 0.45, 0.75), between(rng, 0.25, 0.5)
    if chance(rng, 0.6):
        pieces.append(shape.translated(shape.fit(shape.blob(rng), bx, by), 0.05, 0.3))
        for x in np.linspace(-bx * 0.8, bx * 0.8, int(rng.integers(2, 5))):
            leg = np.array([(x, 0.3), (x + rng.normal(0, 0.08), 0.95)], np.float32)
            canvas.part(
                shape.stroke_coverage([leg], [between(rng, 0.08, 0.2)], canvas.size), similar_colour(rng, tone, 0.1)
            )
        if chance(rng, 0.7):
            tail = shape.chaikin(np.array([(bx, 0.2), (bx + 0.3, 0.0), (bx + rng.normal(0, 0.2), -0.5)], np.float32), 3,
                                 closed=False)  # fmt: skip
            canvas.part(shape.stroke_coverage([tail], [between(rng, 0.03, 0.14)], canvas.size), tone)
        hx, hy, hr = between(rng, -0.7, -0.3), between(rng, -0.4, 0.0), between(rng, 0.22, 0.38)
    else:
        hx, hy, hr = 0.0, 0.1, between(rng, 0.5, 0.75)
    ear = between(rng, 0.5, 1.2) * hr
    for side in (-1, 1):
        tip = (hx + side * hr * between(rng, 0.6, 1.1), hy - hr * 0.6 - ear)
        corners = np.array(
            [(hx + side * hr * 0.2, hy - hr * 0.7), tip, (hx + side * hr * 0.95, hy - hr * 0.3)], np.float32
        )
        canvas.part(
            shape.coverage([shape.rounded(corners, between(rng, 0.05, 0.3))], canvas.size),
            similar_colour(rng, tone, 0.15),
        )
    pieces.append(shape.translated(shape.fit(shape.blob(rng), hr, hr * between(rng, 0.8, 1.1)), hx, hy))
    for piece in pieces:
        if length > 0.045:
            furry_shape(canvas, piece, tone, length, count)
        else:
            canvas.part(shape.coverage([piece], canvas.size), tone)
    _face(canvas, hx, hy, hr)


def _face(canvas: Canvas, x: float, y: float, radius: float) -> None:
    rng = canvas.rng
    dark = np.full(3, between(rng, 0.0, 0.25), np.float32)
    eye = radius * between(rng, 0.08, 0.18)
    marks = [shape.translated(shape.ellipse(eye, eye, 20), x + s * radius * 0.38, y - radius * 0.12) for s in (-1, 1)]
    marks.append(shape.translated(shape.ellipse(eye * 1.3, eye * 0.7, 20), x, y + radius * between(rng, 0.25, 0.5)))
    canvas.part(shape.union(marks, canvas.size) * canvas.alpha, dark, finish=Finish(0.6, 40, 0, 0), pattern=False)


def portrait(canvas: Canvas) -> None:
    """Head and shoulders of a person, with loose strands of hair and clothes."""
    rng = canvas.rng
    flesh, hair = skin_colour(rng), random_colour(rng)
    size = canvas.size
    matt = Finish(between(rng, 0, 0.15), 12, 0, 0.2)
    hw, hh, hy = between(rng, 0.24, 0.36), between(rng, 0.33, 0.45), between(rng, -0.5, -0.35)
    mane = shape.translated(
        shape.fit(shape.blob(rng), hw * between(rng, 1.05, 1.6), hh * between(rng, 1.0, 1.5)), 0, hy - 0.06
    )
    furry_shape(canvas, mane, hair, between(rng, 0.02, 0.15), int(rng.integers(100, 500)))
    neck = np.array([(-0.14, hy), (0.14, hy), (0.18, 0.3), (-0.18, 0.3)], np.float32)
    canvas.part(shape.coverage([neck], size), flesh * np.float32(0.85), finish=matt, pattern=False)
    torso = shape.jittered(rng, _TORSO, 0.03)
    torso[:, 0] *= between(rng, 0.65, 1.0)
    torso[:, 1] = np.where(torso[:, 1] > 0.9, 1.2, torso[:, 1])
    canvas.part(shape.coverage([torso], size), finish=Finish(0.02, 8, 0, 0.2))
    for _ in range(int(rng.integers(0, 4))):
        detail = shape.translated(
            shape.random_contour(rng) * np.float32(between(rng, 0.08, 0.3)), rng.normal(0, 0.4), between(rng, 0.3, 0.9)
        )
        canvas.part(shape.coverage([detail], size) * shape.coverage([torso], size))
    head = shape.translated(shape.fit(shape.blob(rng) * 0.15 + shape.ellipse(1, 1, 120), hw, hh), 0, hy)
    mask = shape.coverage([head], size)
    canvas.part(mask, flesh, finish=matt, pattern=False)
    _face(canvas, 0, hy, hw)
    if chance(rng, 0.7):
        fringe = shape.translated(shape.fit(shape.blob(rng), hw * 1.1, hh * 0.4), rng.normal(0, 0.03), hy - hh * 0.8)
        furry_shape(canvas, fringe, hair, 0.04, 150)
    if chance(rng, 0.12):  # a helmet or hood
        ring = shape.translated(shape.ellipse(hw * 1.5, hh * 1.3), 0, hy)
        inner = shape.translated(shape.ellipse(hw * 1.1, hh * 0.95), 0, hy)
        canvas.part(shape.coverage([ring, inner], size))


def figure(canvas: Canvas) -> None:
    """A whole person or doll, with gaps between the legs and under the arms."""
    rng = canvas.rng
    size, flesh, top, low = canvas.size, skin_colour(rng), random_colour(rng), random_colour(rng)
    matt = Finish(0.03, 10, 0, 0.2)
    hip, waist, thick = between(rng, -0.05, 0.12), between(rng, 0.1, 0.22), between(rng, 0.1, 0.2)
    for side in (-1, 1):
        knee = (side * between(rng, 0.05, 0.3), between(rng, 0.4, 0.55))
        foot = (knee[0] + side * between(rng, -0.05, 0.15), between(rng, 0.85, 0.95))
        leg = shape.chaikin(np.array([(side * waist * 0.5, hip), knee, foot], np.float32), 2, closed=False)
        canvas.part(shape.stroke_coverage([leg], [thick], size), low, finish=matt)
        shoe = shape.translated(shape.ellipse(between(rng, 0.08, 0.15), 0.06), foot[0] + side * 0.03, foot[1])
        canvas.part(shape.coverage([shoe], size), finish=matt)
        elbow = (side * between(rng, 0.25, 0.6), between(rng, -0.3, 0.1))
        hand = (elbow[0] + side * rng.normal(0, 0.2), elbow[1] + rng.normal(0.1, 0.3))
        arm = shape.chaikin(np.array([(side * waist, -0.42), elbow, hand], np.float32), 2, closed=False)
        canvas.part(shape.stroke_coverage([arm], [thick * 0.75], size), top if chance(rng, 0.6) else flesh, finish=matt)
        palm = shape.translated(shape.ellipse(0.06, 0.06, 24), *hand)
        canvas.part(shape.coverage([palm], size), flesh, finish=matt, pattern=False)
    body = np.array([(-waist * 1.3, -0.5), (waist * 1.3, -0.5), (waist, hip + 0.1), (-waist, hip + 0.1)], np.float32)
    canvas.part(shape.coverage([shape.rounded(body, 0.2)], size), top, finish=matt)
    if chance(rng, 0.25):  # a skirt or coat
        hem = between(rng, 0.3, 0.7)
        skirt = np.array([(-waist, -0.1), (waist, -0.1), (waist * 2, hem), (-waist * 2, hem)], np.float32)
        canvas.part(shape.coverage([shape.rounded(skirt, 0.1)], size), low)
    head = shape.translated(shape.ellipse(0.14, 0.18), 0, -0.68)
    furry_shape(
        canvas, shape.translated(shape.ellipse(0.17, 0.18), 0, -0.73), random_colour(rng), between(rng, 0.01, 0.06), 150
    )
    canvas.part(shape.coverage([head], size), flesh, finish=matt, pattern=False)
    _face(canvas, 0, -0.68, 0.14)


def fluffy(canvas: Canvas) -> None:
    """A toy, brush or fruit with a hairy edge."""
    rng = canvas.rng
    furry_shape(
        canvas,
        shape.random_contour(rng) * np.float32(0.8),
        random_colour(rng),
        between(rng, 0.03, 0.2),
        int(rng.integers(200, 900)),
    )
    if chance(rng, 0.5):
        canvas.part(shape.coverage([shape.random_contour(rng) * np.float32(0.35)], canvas.size))
