"""The mix that the network is trained on: photographs, photographed objects on other backgrounds, drawings, empty ones.

`SHARES` says how much of each. All of it becomes pictures with one camera's noise and JPEG over object and background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.corpus.pictures import Corpus, Photograph, crop, resized
from inference.synthetic import EVERYTHING, ContentMix, Sample, SampleStream
from inference.synthetic.backgrounds import defocused, plain_backdrop, room, studio_backdrop, wall
from inference.synthetic.camera import photograph, tone
from inference.synthetic.drawn_object import DrawnObject
from inference.synthetic.pixels import blur, grid, mix, multiply, to_bytes, to_floats
from inference.synthetic.placement import place_objects
from inference.synthetic.sampling import Float, Rng, between, chance
from inference.synthetic.shadows import cast_shadow
from inference.synthetic.textures import random_colour

Bytes = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True)
class Shares:
    """The mix. The first four are shares of all pictures and need not add up to 1; the others are chances 0..1."""

    whole: float = 0.30
    """Whole photographs with the teacher's mattes."""
    composed: float = 0.46
    """Objects, photographed or drawn, on other backgrounds."""
    drawn: float = 0.16
    """Drawings alone, whose mattes are exact."""
    empty: float = 0.08
    """Hard negatives: patterns, lines, shadows and rooms without an object."""
    photographed_objects: float = 0.75
    """Of the composed pictures' objects."""
    true_mattes: float = 0.35
    """Of the photographed objects: those whose mattes somebody has drawn; of the others, the teacher's are the rest."""
    rendered: float = 0.35
    """Of the photographed objects: textured models instead, whose mattes are exact."""
    photographed_backgrounds: float = 0.75
    """Of the composed pictures' backgrounds."""
    things_behind: float = 0.40
    """Of the composed pictures: those with smaller things, out of focus, that belong to the background."""


SHARES = Shares()
EDGE_SHARES = Shares(whole=0.0, composed=0.5, drawn=0.5, empty=0.0, true_mattes=0.2, rendered=0.8)
"""For the edge head: mattes that are exact, since the teacher's are softer than what it has to learn."""
COMPOSED = replace(EVERYTHING, rooms=0.2, crowded=0.15, alike=0.15, close=0.15, empty=0.0)
"""How objects are put on backgrounds in the composed pictures."""


class ComposedStream(SampleStream):
    """Photographed or drawn objects on backgrounds, composed as in `SampleStream`; shadows belong to the background."""

    def __init__(self, seed: int, corpus: Corpus, shares: Shares, content: ContentMix = COMPOSED) -> None:
        super().__init__(seed, content=content)
        self._corpus, self._shares = corpus, shares

    def _object(self, height: int, width: int) -> DrawnObject:
        rng, corpus = self._rng, self._corpus
        shares = self._shares
        taught = 1 - shares.true_mattes - shares.rendered
        pools = ((corpus.objects, shares.true_mattes), (corpus.rendered, shares.rendered), (corpus.taught, taught))
        chances = np.array([share if pool else 0.0 for pool, share in pools])
        if chances.any() and chance(rng, shares.photographed_objects):
            return varied(rng, pick(rng, pools[int(rng.choice(len(pools), p=chances / chances.sum()))][0]))
        return super()._object(height, width)

    def _background(self, height: int, width: int) -> Float:
        if chance(self._rng, self._shares.photographed_backgrounds):
            background = photographed_background(self._rng, self._corpus, height, width)
        else:
            background = super()._background(height, width)
        if not chance(self._rng, self._shares.things_behind):
            return background
        things = [self._object(height, width) for _ in range(int(self._rng.integers(1, 4)))]
        return with_things_behind(self._rng, background, things)


class MixedStream:
    """Endless samples of the mix; the same seed gives the same samples."""

    def __init__(self, seed: int, corpus: Corpus, shares: Shares = SHARES) -> None:
        self._rng = np.random.default_rng([seed, 7])
        self._corpus = corpus
        self._drawn = SampleStream(seed)
        self._composed = ComposedStream(seed + 1, corpus, shares)
        makers = {
            self._whole: shares.whole if corpus.photographs else 0.0,
            self._composed.next: shares.composed,
            self._drawn.next: shares.drawn,
            self._empty: shares.empty,
        }
        self._makers = list(makers)
        self._chances = np.array(list(makers.values())) / sum(makers.values())

    def next(self, height: int, width: int) -> Sample:
        """The next height x width sample."""
        return self._makers[int(self._rng.choice(len(self._makers), p=self._chances))](height, width)

    def _whole(self, height: int, width: int) -> Sample:
        return whole_photograph(self._rng, self._corpus.photographs, height, width)

    def _empty(self, height: int, width: int) -> Sample:
        return empty_picture(self._rng, self._corpus, self._composed, height, width)


def pick(rng: Rng, pool: Sequence[T]) -> T:
    """One of the pool, at random."""
    return pool[int(rng.integers(len(pool)))]


def varied(rng: Rng, cutout: DrawnObject) -> DrawnObject:
    """A photographed object in another light: brightness, white balance and contrast, now and then another hue."""
    rgb = tone(rng, to_floats(cutout.rgb), 0.8)
    if chance(rng, 0.1):
        rgb = np.ascontiguousarray(rgb[..., rng.permutation(3)])
    if chance(rng, 0.05):
        rgb = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    return replace(cutout, rgb=to_bytes(np.clip(rgb, 0, 1).astype(np.float32)))


def whole_photograph(rng: Rng, photographs: Sequence[Photograph], height: int, width: int) -> Sample:
    """A photograph with its teacher's matte, or two side by side: cropped, scaled, turned, toned, noisy."""
    if chance(rng, 0.08):
        across = chance(rng, 0.5)
        first = (height, width // 2) if across else (height // 2, width)
        second = (height, width - width // 2) if across else (height - height // 2, width)
        halves = [cropped(rng, pick(rng, photographs), *size) for size in (first, second)]
        axis = 1 if across else 0
        rgb, alpha = (np.concatenate(parts, axis=axis) for parts in zip(*halves, strict=True))
    else:
        rgb, alpha = cropped(rng, pick(rng, photographs), height, width)
    picture = to_floats(np.ascontiguousarray(rgb))
    if chance(rng, 0.6):
        picture = np.clip(tone(rng, picture, 1.0), 0, 1)
    if chance(rng, 0.04):
        picture = np.ascontiguousarray(picture[..., rng.permutation(3)])
    return Sample(photograph(rng, picture.astype(np.float32)), np.ascontiguousarray(alpha))


def cropped(rng: Rng, source: Photograph, height: int, width: int) -> tuple[Bytes, Bytes]:
    """A part of a photograph, turned a little, in a frame of height x width; its border is continued where it ends.

    The part holds most of the object: one that is cut to a shred teaches nothing.
    """
    rows, columns = source.alpha.shape
    fit = max(height / rows, width / columns) if chance(rng, 0.85) else min(height / rows, width / columns)
    for attempt in range(4):
        zoom = fit * (between(rng, 0.75, 1.7) if attempt < 3 else 1.0)
        turn = np.deg2rad(rng.normal(0, 4)) if chance(rng, 0.5) else 0.0
        flip = -1.0 if chance(rng, 0.5) else 1.0
        stretch = np.exp(rng.normal(0, 0.06))
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = linear @ np.diag([zoom * stretch * flip, zoom / stretch])
        spare = np.maximum(0, np.abs(linear) @ np.array([columns, rows]) - np.array([width, height])) / 2
        centre = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * (spare + 0.04 * min(width, height))
        shift = centre - linear @ np.array([columns, rows]) / 2
        matrix = np.concatenate((linear, shift[:, None]), axis=1)
        alpha = warp(source.alpha, matrix, height, width, zoom)
        kept = float(alpha.sum()) / max(1.0, float(source.alpha.sum()) * zoom * zoom)
        if attempt == 3 or (kept > 0.55 and 0.01 < float(alpha.mean()) / 255 < 0.9):
            break
    return warp(source.rgb, matrix, height, width, zoom), alpha


def warp(
    picture: Bytes,
    matrix: NDArray[np.float64],
    height: int,
    width: int,
    scale: float,
    border: int = cv2.BORDER_REFLECT_101,
) -> Bytes:
    """An affine warp (source to target) that does not alias; `border` is OpenCV's mode, by default a mirror."""
    if scale < 0.6:
        rows, columns = picture.shape[:2]
        size = (max(2, round(columns * scale)), max(2, round(rows * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        back = np.diag([columns / size[0], rows / size[1], 1.0])
        matrix = matrix @ back
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), borderMode=border), np.uint8)


def photographed_background(rng: Rng, corpus: Corpus, height: int, width: int) -> Float:
    """A crop of a photograph without an object, the part beside an object, or a floor of a photographed material."""
    kind = rng.random()
    if corpus.surfaces and kind < 0.30:
        return surface_background(rng, corpus, height, width)
    wanted = corpus.photographs and (kind < 0.45 or not corpus.backgrounds)
    if wanted and (beside := _beside(rng, corpus.photographs)) is not None:
        return _softened(rng, resized(beside, height, width))
    if not corpus.backgrounds:
        return studio_backdrop(rng, height, width)
    return _softened(rng, crop(rng, pick(rng, corpus.backgrounds), height, width))


def surface_background(rng: Rng, corpus: Corpus, height: int, width: int) -> Float:
    """A wall of one material, or a floor of it in perspective before a wall, a sweep or something out of focus."""
    pattern = tiled(rng, pick(rng, corpus.surfaces), height, width)
    if chance(rng, 0.3):
        return _lit(rng, pattern)
    if chance(rng, 0.4):
        behind = tiled(rng, pick(rng, corpus.surfaces), height, width)
    else:
        behind = (wall, studio_backdrop, defocused, plain_backdrop)[int(rng.integers(4))](rng, height, width)
    horizon, widening = between(rng, -0.2, 0.6) * height, between(rng, 0.2, 1.5) * width
    flat = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    seen = np.array([(0, horizon), (width, horizon), (width + widening, height), (-widening, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, seen)
    floor = np.asarray(cv2.warpPerspective(pattern, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    weight = np.clip((y - np.float32(horizon)) / np.float32(between(rng, 1, 5)), 0, 1) * np.ones(width, np.float32)
    return _lit(rng, mix(behind, floor, weight))


def tiled(rng: Rng, surface: Bytes, height: int, width: int) -> Float:
    """A material over height x width, repeated up to five times along the longer side."""
    side = max(height, width) / between(rng, 0.8, 5)
    scale = side / max(surface.shape[:2])
    size = (max(8, round(surface.shape[1] * scale)), max(8, round(surface.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = np.asarray(cv2.resize(surface, size, interpolation=how), np.uint8)
    tile = np.rot90(tile) if chance(rng, 0.5) else tile
    times_down, times_across = -(-height // tile.shape[0]) + 1, -(-width // tile.shape[1]) + 1
    plane = np.tile(tile, (times_down, times_across, 1))
    y, x = int(rng.integers(tile.shape[0])), int(rng.integers(tile.shape[1]))
    return to_floats(np.ascontiguousarray(plane[y : y + height, x : x + width]))


def _lit(rng: Rng, picture: Float) -> Float:
    """Add uneven light and depth of field to a photograph of a material."""
    height, width = picture.shape[:2]
    x, y = grid(height, width)
    light = 1 + np.float32(rng.normal(0, 0.3)) * (x - 0.5) + np.float32(rng.normal(0, 0.3)) * (y - 0.5)
    return _softened(rng, np.clip(multiply(picture, light), 0, 1))


def _softened(rng: Rng, picture: Float) -> Float:
    return blur(picture, max(picture.shape) * between(rng, 0.002, 0.02)) if chance(rng, 0.4) else picture


def _beside(rng: Rng, photographs: Sequence[Photograph]) -> Bytes | None:
    """A part of a photograph in which its object does not come; None where a few tries found none."""
    for _ in range(6):
        source = pick(rng, photographs)
        rows, columns = source.alpha.shape
        h, w = round(rows * between(rng, 0.3, 0.7)), round(columns * between(rng, 0.3, 0.7))
        y, x = int(rng.integers(rows - h + 1)), int(rng.integers(columns - w + 1))
        if float(source.alpha[y : y + h, x : x + w].mean()) < 0.5:
            return source.rgb[y : y + h, x : x + w]
    return None


def empty_picture(rng: Rng, corpus: Corpus, composed: ComposedStream, height: int, width: int) -> Sample:
    """A picture without an object, but with what could be taken for one: lines, stripes, shadows, rooms, materials."""
    kind = rng.random()
    if kind < 0.45 and (corpus.surfaces or corpus.backgrounds):
        background = photographed_background(rng, corpus, height, width)
    elif kind < 0.75:
        background = room(rng, height, width)
    else:
        background = (studio_backdrop, wall, plain_backdrop, defocused)[int(rng.integers(4))](rng, height, width)
    if chance(rng, 0.35):
        background = with_lines(rng, background)
    if chance(rng, 0.4):
        background = with_shadow(rng, background, composed._object(height, width))
    return Sample(photograph(rng, np.clip(background, 0, 1)), np.zeros((height, width), np.uint8))


def with_lines(rng: Rng, background: Float) -> Float:
    """Paint a few broad lines and arcs of one colour on a floor, such as court lines, tape or stripes."""
    height, width = background.shape[:2]
    plane = np.zeros((height, width), np.float32)
    thickness = max(1, round(max(height, width) * between(rng, 0.006, 0.04)))
    for _ in range(int(rng.integers(1, 6))):
        if chance(rng, 0.75):
            start, end = (rng.uniform(-0.3, 1.3, 2) * (width, height) for _ in range(2))
            cv2.line(plane, _point(start), _point(end), 1.0, thickness, cv2.LINE_AA)
        else:
            centre = _point(rng.uniform(-0.2, 1.2, 2) * (width, height))
            axes = _point(rng.uniform(0.1, 0.7, 2) * (width, height))
            cv2.ellipse(plane, centre, axes, float(rng.uniform(-20, 20)), 0, 360, 1.0, thickness, cv2.LINE_AA)
    tint = np.ones(3, np.float32) if chance(rng, 0.5) else random_colour(rng)
    worn = np.float32(between(rng, 0.5, 1.0))
    return mix(background, np.asarray(tint, np.float32), plane * worn)


def with_shadow(rng: Rng, background: Float, cutout: DrawnObject) -> Float:
    """Add the shadow of an object that is outside of the picture."""
    height, width = background.shape[:2]
    layers = place_objects(rng, [cutout], height, width, COMPOSED)
    if not layers:
        return background
    shadow = layers[0].shadow if layers[0].shadow is not None else cast_shadow(rng, layers[0])
    return multiply(background, 1 - np.float32(between(rng, 0.2, 0.7)) * shadow)


def with_things_behind(rng: Rng, background: Float, things: Sequence[DrawnObject]) -> Float:
    """Put things into the background: small, anywhere, also across the border, and out of focus.

    From these the network learns to drop a second thing that stands out beside the object.
    """
    height, width = background.shape[:2]
    for thing in things:
        rows, columns = thing.alpha.shape
        scale = between(rng, 0.12, 0.42) * min(height / rows, width / columns)
        linear = np.diag([scale if chance(rng, 0.5) else -scale, scale])
        shift = rng.uniform(-0.05, 1.05, 2) * (width, height) - linear @ np.array([columns, rows]) / 2
        matrix = np.concatenate((linear, shift[:, None]), axis=1)
        picture = warp(thing.rgb, matrix, height, width, scale, cv2.BORDER_REPLICATE)
        matte = warp(thing.alpha, matrix, height, width, scale, cv2.BORDER_CONSTANT)
        background = mix(background, to_floats(picture), to_floats(matte))
    return blur(background, max(height, width) * between(rng, 0.003, 0.014))


def _point(values: NDArray[np.floating]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
