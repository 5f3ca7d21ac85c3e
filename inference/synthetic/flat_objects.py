"""Flat objects: parts of different materials on top of each other on a square canvas."""

from collections.abc import Callable

import cv2
import numpy as np

from . import contours as shape
from .drawn_object import DrawnObject, crop_visible
from .flat_canvas import Canvas
from .flat_creatures import animal, figure, fluffy, portrait
from .flat_shading import Finish, random_finish
from .pixels import blur, grid, multiply
from .sampling import Float, Rng, between, chance
from .textures import fibres, random_colour, similar_colour


def _label(canvas: Canvas, outline: Float) -> None:
    rng = canvas.rng
    top = between(rng, -0.3, 0.3)
    bottom = top + between(rng, 0.2, 0.6)
    width = 1.0 if chance(rng, 0.5) else between(rng, 0.15, 0.4)
    band = np.array([[-width, top], [width, top], [width, bottom], [-width, bottom]], np.float32)
    body = shape.coverage([outline], canvas.size)
    mask = body * shape.coverage([shape.rounded(band, 0.06) if width < 1 else band], canvas.size)
    canvas.part(mask, turned=chance(rng, 0.7))


def _saucer(canvas: Canvas, outline: Float, tone: Float) -> None:
    rng = canvas.rng
    base = float(outline[:, 1].max())
    wide, tall = between(rng, 0.6, 1.05), between(rng, 0.1, 0.3)
    y = min(base - tall * between(rng, 0.4, 0.9), 0.98 - tall)
    plate = shape.translated(shape.ellipse(wide, tall), 0, y)
    canvas.part(shape.coverage([plate], canvas.size), tone if chance(rng, 0.7) else None)
    well = shape.translated(shape.ellipse(wide * 0.65, tall * 0.65), 0, y)
    canvas.part(shape.coverage([well], canvas.size), similar_colour(rng, tone, 0.1), pattern=False)


def vessel(canvas: Canvas) -> None:
    """A bottle, cup, vase, can, glass or lamp."""
    rng = canvas.rng
    outline, rim = shape.lathe(rng)
    mask = shape.coverage([outline], canvas.size)
    tone, finish = random_colour(rng), random_finish(rng)
    if chance(rng, 0.35):
        side = 1 if chance(rng, 0.5) else -1
        y0 = between(rng, -0.2, 0.3)
        reach = float(np.interp(y0, *shape.half_widths(outline)))
        ring = shape.translated(
            shape.ellipse(between(rng, 0.15, 0.35), between(rng, 0.2, 0.4)), side * (reach + 0.02), y0
        )
        closed = np.concatenate((ring, ring[:1]))
        canvas.part(shape.stroke_coverage([closed], [between(rng, 0.04, 0.13)], canvas.size), tone, finish=finish)
    if chance(rng, 0.12):
        _saucer(canvas, outline, tone)
    canvas.part(mask, tone, turned=True, finish=finish)
    if chance(rng, 0.6):
        inner = shape.translated((rim - rim.mean(axis=0)) * np.float32(between(rng, 0.82, 0.97)), *rim.mean(axis=0))
        canvas.part(shape.coverage([rim], canvas.size), similar_colour(rng, tone, 0.1), finish=finish, pattern=False)
        canvas.part(
            shape.coverage([inner], canvas.size),
            similar_colour(rng, tone * 0.6) if chance(rng, 0.5) else random_colour(rng),
        )
    else:
        cap = outline[outline[:, 1] < np.quantile(outline[:, 1], 0.35)]
        band = np.array([[-1, -1.05], [1, -1.05], [1, cap[:, 1].max()], [-1, cap[:, 1].max()]], np.float32)
        canvas.part(mask * shape.coverage([band], canvas.size), turned=True)
    if chance(rng, 0.5):
        _label(canvas, outline)


def glass(canvas: Canvas) -> None:
    """A transparent vessel, more opaque at its edge."""
    rng = canvas.rng
    vessel(canvas)
    thickness = cv2.distanceTransform((canvas.alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    edge = np.exp(-thickness / (canvas.size * between(rng, 0.01, 0.04))).astype(np.float32)
    canvas.alpha = canvas.alpha * np.minimum(1, np.float32(between(rng, 0.3, 0.75)) + edge * 0.6)
    if chance(rng, 0.6):  # a filling
        outline = fill_level(canvas, between(rng, 0.3, 0.7))
        canvas.part(outline, opacity=between(rng, 0.8, 1.0), turned=True)


def fill_level(canvas: Canvas, level: float) -> Float:
    """A mask of the drawn object below a level (0 top .. 1 bottom), slightly inset."""
    _, y = grid(canvas.size, canvas.size)
    inset = cv2.erode(canvas.alpha, np.ones((3, 3), np.uint8), iterations=2)
    below = np.clip((y - np.float32(level)) * canvas.size, 0, 1)
    return np.asarray(np.clip(inset * 4, 0, 1) * below, np.float32)


def box(canvas: Canvas) -> None:
    """A carton with up to three visible faces."""
    rng = canvas.rng
    w, h, d = between(rng, 0.3, 0.75), between(rng, 0.3, 0.95), between(rng, 0.1, 0.45)
    skew, rise, taper = between(rng, 0.1, 0.5) * d, between(rng, 0.2, 0.8) * d, between(rng, 0.9, 1.0)
    split = between(rng, -0.2, 0.9) * w
    top_l, top_m, top_r = (-w, -h + rise), (split, -h + rise + skew), (w, -h + rise - 0.05)
    low_l, low_m, low_r = (-w * taper, h - skew), (split, h), (w * taper, h - skew - 0.05)
    back = (-w + w - split, -h + rise - d)
    tone = random_colour(rng)
    same = chance(rng, 0.6)
    faces = ((top_l, top_m, low_m, low_l), (top_m, top_r, low_r, low_m), (top_l, back, top_r, top_m))
    matt = Finish(0.02, 10, 0, 0.05)
    for face, light in zip(
        faces, rng.permutation([1.0, between(rng, 0.6, 0.85), between(rng, 0.85, 1.1)]), strict=True
    ):
        base = (tone if same else random_colour(rng)) * np.float32(light)
        canvas.part(shape.coverage([np.array(face, np.float32)], canvas.size), base, finish=matt)


_SHOE = ((-0.95, 0.3), (-0.95, -0.35), (-0.6, -0.45), (-0.4, -0.35), (-0.25, -0.3), (0.1, -0.05), (0.5, 0.08),
         (0.9, 0.15), (1.0, 0.35), (0.9, 0.42), (-0.9, 0.42))  # fmt: skip
_HEEL = ((-0.9, 0.55), (-0.92, -0.4), (-0.75, -0.5), (-0.5, -0.3), (-0.1, 0.1), (0.4, 0.35), (0.95, 0.45),
         (1.0, 0.52), (0.3, 0.55), (-0.3, 0.25), (-0.7, 0.0), (-0.82, 0.55))  # fmt: skip
_SHIRT = ((-0.3, -0.8), (-0.1, -0.7), (0.1, -0.7), (0.3, -0.8), (0.6, -0.65), (0.95, -0.1), (0.7, 0.05), (0.5, -0.2),
          (0.52, 0.85), (-0.52, 0.85), (-0.5, -0.2), (-0.7, 0.05), (-0.95, -0.1), (-0.6, -0.65))  # fmt: skip
_BAG = ((-0.7, -0.2), (-0.55, -0.3), (0.55, -0.3), (0.7, -0.2), (0.85, 0.75), (0.7, 0.9), (-0.7, 0.9), (-0.85, 0.75))


def shoe(canvas: Canvas) -> None:
    """A shoe with a sole, patches and laces."""
    rng = canvas.rng
    upper = shape.jittered(rng, _HEEL if chance(rng, 0.2) else _SHOE, 0.03)
    mask = shape.coverage([upper], canvas.size)
    canvas.part(mask)
    for _ in range(int(rng.integers(0, 4))):
        spot = shape.translated(shape.random_contour(rng) * np.float32(between(rng, 0.2, 0.5)), between(rng, -0.8, 0.9),
                           between(rng, -0.3, 0.4))  # fmt: skip
        canvas.part(mask * shape.coverage([spot], canvas.size))
    if chance(rng, 0.8):
        y0, thick = 0.33, between(rng, 0.08, 0.22)
        sole = np.array([(-0.97, y0), (0.2, y0 + 0.03), (1.02, y0 - 0.04), (1.0, y0 + thick), (-0.95, y0 + thick)])
        canvas.part(shape.coverage([shape.rounded(sole.astype(np.float32), 0.1)], canvas.size))
    if chance(rng, 0.5):
        laces = [np.array([[x, -0.3 + 0.4 * (x + 0.35)], [x + 0.16, -0.22 + 0.4 * (x + 0.35)]], np.float32)
                 for x in np.linspace(-0.3, 0.2, int(rng.integers(3, 6)))]  # fmt: skip
        canvas.part(shape.stroke_coverage(laces, [0.03] * len(laces), canvas.size), pattern=False)


def bag(canvas: Canvas) -> None:
    """A bag with a strap; the background is visible between them."""
    rng = canvas.rng
    tone = random_colour(rng)
    x, top = between(rng, 0.2, 0.5), between(rng, -1.0, -0.6)
    strap = shape.chaikin(np.array([(-x, -0.2), (-x, top), (x, top), (x, -0.2)], np.float32), 3, closed=False)
    lines = [strap] if chance(rng, 0.6) else [strap, shape.translated(strap, 0.06, 0.05)]
    canvas.part(shape.stroke_coverage(lines, [between(rng, 0.015, 0.09)] * len(lines), canvas.size), tone)
    body = shape.jittered(rng, _BAG, 0.04, int(rng.integers(1, 4)))
    mask = shape.coverage([body], canvas.size)
    canvas.part(mask, tone)
    if chance(rng, 0.6):
        flap = shape.jittered(rng, ((-0.75, -0.35), (0.75, -0.35), (0.7, 0.2), (0.0, 0.4), (-0.7, 0.2)), 0.05)
        lid = mask * shape.coverage([flap], canvas.size)
        canvas.shadow(lid, 0.4)
        canvas.part(lid, similar_colour(rng, tone))


def garment(canvas: Canvas) -> None:
    """A shirt or dress with folds."""
    rng = canvas.rng
    mask = shape.coverage([shape.jittered(rng, _SHIRT, 0.04, 2)], canvas.size)
    canvas.part(mask, finish=Finish(0.0, 10, 0, 0.2))
    folds = fibres(rng, canvas.size, canvas.size, np.ones(3, np.float32))[..., 0]
    folds = blur(folds, canvas.size * 0.01)
    canvas.rgb = multiply(canvas.rgb, folds ** np.float32(between(rng, 0.5, 2)))


def furniture(canvas: Canvas) -> None:
    """A chair, table, stool or stand on thin legs."""
    rng = canvas.rng
    tone, size = random_colour(rng), canvas.size
    w, y, splay = between(rng, 0.4, 0.85), between(rng, -0.3, 0.35), between(rng, -0.1, 0.2)
    n = int(rng.integers(2, 5))
    legs = [
        np.array([(x, y), (x * (1 + splay), between(rng, 0.8, 0.95))], np.float32) for x in np.linspace(-w, w, n) * 0.92
    ]
    if chance(rng, 0.4):
        legs.append(np.array([(-w * 0.9, (y + 0.9) / 2), (w * 0.9, (y + 0.9) / 2)], np.float32))
    canvas.part(shape.stroke_coverage(legs, [between(rng, 0.025, 0.12)] * len(legs), size), tone)
    if chance(rng, 0.6):
        back = np.array([(-w * 0.95, -0.95), (w * 0.95, -0.95), (w, y), (-w, y)], np.float32)
        outer = shape.rounded(back, between(rng, 0.02, 0.4))
        inner = shape.translated(outer * np.float32(between(rng, 0.6, 0.88)), 0, (y - 0.95) * 0.12)
        canvas.part(
            shape.coverage([outer, inner] if chance(rng, 0.5) else [outer], size), tone if chance(rng, 0.5) else None
        )
    t = between(rng, 0.04, 0.2)
    seat = np.array([(-w, y - t), (w, y - t), (w * 1.05, y + t), (-w * 1.05, y + t)], np.float32)
    canvas.part(
        shape.coverage([shape.rounded(seat, 0.05)], size), similar_colour(rng, tone) if chance(rng, 0.6) else None
    )


def wired(canvas: Canvas) -> None:
    """Rings and lines such as headphones, glasses and cables, with large gaps."""
    rng = canvas.rng
    size = canvas.size
    tone = random_colour(rng)
    lines, widths = [], []
    for _ in range(int(rng.integers(1, 4))):
        if chance(rng, 0.5):
            ring = shape.fit(shape.superellipse(rng), between(rng, 0.2, 0.8), between(rng, 0.2, 0.8))
            ring = shape.translated(ring, rng.normal(0, 0.2), rng.normal(0, 0.2))
            lines.append(np.concatenate((ring, ring[:1])))
            widths.append(between(rng, 0.04, 0.25))
        else:
            lines.append(shape.random_line(rng, int(rng.integers(3, 8))))
            widths.append(between(rng, 0.02, 0.1))
    canvas.part(shape.stroke_coverage(lines, widths, size), tone)
    for x in (-1, 1)[: int(rng.integers(0, 3))]:
        pad = shape.translated(
            shape.fit(shape.superellipse(rng), between(rng, 0.15, 0.3), between(rng, 0.2, 0.4)), x * 0.6, 0.2
        )
        canvas.part(shape.coverage([pad], size))


def plant(canvas: Canvas) -> None:
    """A potted plant: leaves on stems over a pot."""
    rng = canvas.rng
    green = np.array([between(rng, 0.1, 0.5), between(rng, 0.3, 0.7), between(rng, 0.05, 0.35)], np.float32)
    stems, leaves = [], []
    for _ in range(int(rng.integers(4, 12))):
        tip = np.array([rng.normal(0, 0.45), between(rng, -0.95, 0.0)])
        middle = tip * np.array([0.3, 0.4]) + rng.normal(0, 0.08, 2)
        stems.append(shape.chaikin(np.array([(0, 0.5), middle, tip], np.float32), 3, closed=False))
        leaf = shape.capsule(rng) * np.float32(between(rng, 0.15, 0.38))
        leaves.append(shape.translated(shape.rotated(leaf, between(rng, 0, 360)), *np.clip(tip, -0.9, 0.9)))
    canvas.part(
        shape.stroke_coverage(stems, [between(rng, 0.015, 0.05)] * len(stems), canvas.size), green * np.float32(0.7)
    )
    for group in (leaves[::2], leaves[1::2]):
        canvas.part(shape.union(group, canvas.size), similar_colour(rng, green))
    pot = np.array([(-0.35, 0.4), (0.35, 0.4), (0.26, 0.95), (-0.26, 0.95)], np.float32)
    canvas.part(shape.coverage([shape.rounded(pot, 0.06)], canvas.size), turned=True)


def solid(canvas: Canvas) -> None:
    """One to four random shapes of different materials, sometimes with holes."""
    rng = canvas.rng
    outline = shape.random_contour(rng)
    hole = [shape.translated(shape.random_contour(rng) * np.float32(between(rng, 0.12, 0.4)), *rng.normal(0, 0.2, 2))]
    mask = shape.coverage([outline, *hole] if chance(rng, 0.15) else [outline], canvas.size)
    canvas.part(mask)
    for _ in range(int(rng.choice(4, p=[0.35, 0.3, 0.2, 0.15]))):
        piece = shape.translated(
            shape.random_contour(rng) * np.float32(between(rng, 0.15, 0.6)), *rng.normal(0, 0.35, 2)
        )
        patch = shape.coverage([piece], canvas.size)
        patch = patch * mask if chance(rng, 0.55) else patch
        canvas.shadow(patch, between(rng, 0, 0.5))
        canvas.part(patch, opacity=between(rng, 0.3, 0.9) if chance(rng, 0.06) else 1.0)


def flat(canvas: Canvas) -> None:
    """A disc, badge, sign or plate with sharp edges, sometimes printed."""
    rng = canvas.rng
    outline = shape.fit(
        shape.superellipse(rng) if chance(rng, 0.6) else shape.regular_polygon(rng), 1, between(rng, 0.4, 1)
    )
    tone = random_colour(rng)
    canvas.part(shape.coverage([outline], canvas.size), tone, finish=Finish(0.1, 10, 0, 0))
    for scale in np.sort(rng.random(int(rng.integers(0, 4))))[::-1]:
        canvas.part(
            shape.coverage([outline * np.float32(0.2 + 0.75 * scale)], canvas.size), finish=Finish(0.1, 10, 0, 0)
        )


_KINDS: tuple[tuple[Callable[[Canvas], None], float, bool], ...] = (
    (solid, 0.2, True), (vessel, 0.2, True), (box, 0.08, True), (shoe, 0.07, True), (bag, 0.06, True),
    (garment, 0.03, False), (animal, 0.09, True), (portrait, 0.08, False), (figure, 0.04, True),
    (furniture, 0.05, True), (wired, 0.03, False),
    (plant, 0.03, True), (flat, 0.03, False), (fluffy, 0.03, True), (glass, 0.02, True),
)  # fmt: skip
_WEIGHTS = np.array([k[1] for k in _KINDS]) / sum(k[1] for k in _KINDS)


def render_object(rng: Rng, size: int) -> DrawnObject:
    """Draw a random object on a size x size canvas and crop it."""
    while True:
        canvas = Canvas(rng, size)
        kind, _, stands = _KINDS[int(rng.choice(len(_KINDS), p=_WEIGHTS))]
        kind(canvas)
        if kind is not portrait and chance(rng, 0.06):
            canvas.alpha = blur(canvas.alpha, between(rng, 0.8, size * 0.012))
        if (cutout := crop_visible(canvas.rgb, canvas.alpha, stands, kind is portrait)) is not None:
            return cutout
