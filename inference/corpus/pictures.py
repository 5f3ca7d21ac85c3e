"""The training data in memory: objects to cut and paste, whole photographs with mattes, backgrounds and surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.corpus.gathering import SplitError, digest_of, listed
from inference.corpus.layout import Layout
from inference.corpus.teacher import finds_nothing, is_sure
from inference.synthetic.drawn_object import DrawnObject, visible_box
from inference.synthetic.pixels import downsample, to_floats, upsample
from inference.synthetic.sampling import Float, Rng, between, chance

Bytes = NDArray[np.uint8]
LONGEST = 768
"""Longer side in pixels at which photographs are kept: a training's canvases are smaller, its pictures not larger."""
LONGEST_BACKGROUND = 1280
"""The same for backgrounds, of which the pictures show a part."""
SMALLEST_OBJECT = 120
"""Longer side in pixels of an object that is worth pasting."""
FLOATING = (
    "butterfl",
    "fish",
    "bird",
    "seagull",
    "moth",
    "dolphin",
    "orca",
    "whale",
    "balloon",
    "harrier",
    "kingfisher",
)
"""Parts of names of things that do not stand on a floor."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph H x W x 3, and the teacher's alpha H x W for it."""

    rgb: Bytes
    alpha: Bytes


@dataclass
class Corpus:
    """Everything that a training may read."""

    objects: list[DrawnObject] = field(default_factory=list)
    """With mattes that somebody has drawn or that are exact."""
    rendered: list[DrawnObject] = field(default_factory=list)
    """Textured models, with exact mattes and the shadows that they cast."""
    taught: list[DrawnObject] = field(default_factory=list)
    """Objects that the teacher is sure of."""
    photographs: list[Photograph] = field(default_factory=list)
    """Whole ones, where the teacher is sure."""
    backgrounds: list[Bytes] = field(default_factory=list)
    """Without an object."""
    surfaces: list[Bytes] = field(default_factory=list)
    """Materials that can be tiled."""


def load_corpus(layout: Layout, *, rendered: bool = True) -> Corpus:
    """Read the training's folders; without `rendered`, all but the rendered models, which take longest.

    Raises SplitError where an object of the `real` split is among them.
    """
    corpus = Corpus()
    real = set(listed("real-split").values())
    for path in files(layout.objects):
        if digest_of(path.read_bytes()) in real:
            raise SplitError(f"{path} belongs to the real split, which is never trained on")
        corpus.objects.append(read_object(path))
    if rendered:
        corpus.rendered += [read_rendered(path) for path in files(layout.rendered) if ".shadow" not in path.suffixes]
    for path in files(layout.photographs):
        matte = layout.mattes / f"{path.stem}.png"
        if matte.exists():
            _add_photograph(corpus, path, np.array(Image.open(matte).convert("L")))
    corpus.backgrounds += [read_picture(path, LONGEST_BACKGROUND) for path in files(layout.backgrounds)]
    corpus.surfaces += [read_picture(path) for path in files(layout.surfaces)]
    return corpus


def files(folder: Path) -> list[Path]:
    """The files of a folder by name; none where there is no folder."""
    return sorted(path for path in folder.glob("*") if path.suffix != ".part") if folder.is_dir() else []


def read_picture(path: Path, longest: int = LONGEST) -> Bytes:
    """H x W x 3, with `longest` as its longer side at most."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.array(picture)


def read_object(path: Path) -> DrawnObject:
    """A picture with an alpha channel as a cut-out; transparent pixels take the colour of the nearest visible ones."""
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    rgba = np.array(picture)
    return cut(rgba[..., :3], rgba[..., 3], stands=not any(part in path.name.lower() for part in FLOATING))


def read_rendered(path: Path) -> DrawnObject:
    """A rendered model and its shadow, which is a square around it of twice its longer side."""
    cutout = read_object(path)
    with Image.open(path.with_suffix(".shadow.png")) as image:
        return replace(cutout, stands=True, cut_below=False, shadow=np.array(image.convert("L")))


def cut(rgb: Bytes, alpha: Bytes, stands: bool) -> DrawnObject:
    """Crop an object to its visible part, and extend its colours beyond its edge over those of the old background."""
    x, y, w, h = visible_box(alpha)
    area = np.s_[y : y + h, x : x + w]
    below = bool((alpha[-3:] > 127).mean() > 0.1)  # it touches the lower edge: a portrait, or cut by the frame
    return DrawnObject(spread_colour(rgb[area], alpha[area]), alpha[area].copy(), stands and not below, below)


def spread_colour(rgb: Bytes, alpha: Bytes) -> Bytes:
    """Extend the colours of opaque pixels smoothly over all others, as a mean of the nearest ones.

    Pull-push over a pyramid: Gortler et al., "The Lumigraph", 1996.
    """
    weight = (alpha > 230).astype(np.float32)
    if not weight.any():
        return rgb.copy()
    levels = [(rgb.astype(np.float32) * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        size = tuple(max(1, side // 2) for side in levels[-1][1].shape[::-1])
        colours, weights = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in levels[-1])
        levels.append((np.asarray(colours, np.float32), np.asarray(weights, np.float32)))
    result = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for colours, weights in reversed(levels[:-1]):
        size = (weights.shape[1], weights.shape[0])
        around = np.asarray(cv2.resize(result, size, interpolation=cv2.INTER_LINEAR), np.float32)
        known = np.minimum(1, weights * 4)[..., None]
        result = around * (1 - known) + colours / np.maximum(weights, 1e-6)[..., None] * known
    soft = ((alpha > 128) & (alpha <= 230))[..., None]
    result = np.where(soft, (result + rgb) / 2, result)
    return np.asarray(result.round().clip(0, 255), np.uint8)


def _add_photograph(corpus: Corpus, path: Path, matte: Bytes) -> None:
    rgb = read_picture(path)
    if finds_nothing(matte):
        corpus.backgrounds.append(rgb)
    elif is_sure(matte):
        alpha = full_size(matte, rgb)
        corpus.photographs.append(Photograph(rgb, alpha))
        if taught := _taught(rgb, alpha, path.name):
            corpus.taught.append(taught)


def full_size(matte: Bytes, rgb: Bytes) -> Bytes:
    """The teacher's matte at its photograph's size, along the photograph's edges (a guided filter on each channel)."""
    height, width = rgb.shape[:2]
    large = cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC)
    guide = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    alpha = large.astype(np.float32) / 255
    size = (2 * (max(height, width) // 160) + 1,) * 2
    mean_g, mean_a = cv2.blur(guide, size), cv2.blur(alpha, size)
    variance = cv2.blur(guide * guide, size) - mean_g**2
    slope = (cv2.blur(guide * alpha, size) - mean_g * mean_a) / (variance + 1e-3)
    refined = cv2.blur(slope, size) * guide + cv2.blur(mean_a - slope * mean_g, size)
    # A little contrast: the teacher's edges are softer than an object's, and haze far from it is none of it.
    sharper = np.clip((refined - 0.5) * 1.3 + 0.5, 0, 1)
    return np.asarray((sharper * 255).round(), np.uint8)


def _taught(rgb: Bytes, alpha: Bytes, name: str) -> DrawnObject | None:
    """An object by the teacher's matte, a pixel narrower; None if it is too small, or touches more than one edge."""
    narrow = np.asarray(cv2.erode(alpha, np.ones((3, 3), np.uint8)), np.uint8)
    edges = (narrow[0], narrow[-1], narrow[:, 0], narrow[:, -1])
    if sum(bool((edge > 127).mean() > 0.02) for edge in edges[:1] + edges[2:]):
        return None
    cutout = cut(rgb, narrow, stands=not any(part in name.lower() for part in FLOATING))
    return cutout if max(cutout.alpha.shape) >= SMALLEST_OBJECT else None


def crop(rng: Rng, picture: Bytes, height: int, width: int) -> Float:
    """A random part of the frame's shape, resized to height x width."""
    rows, columns = picture.shape[:2]
    scale = min(rows / height, columns / width) * between(rng, 0.35, 1.0)
    h, w = max(8, round(height * scale)), max(8, round(width * scale))
    y, x = int(rng.integers(rows - h + 1)), int(rng.integers(columns - w + 1))
    part = picture[y : y + h, x : x + w]
    return resized(part[:, ::-1] if chance(rng, 0.5) else part, height, width)


def resized(picture: Bytes, height: int, width: int) -> Float:
    """Resize a picture to height x width, as floats."""
    source = to_floats(np.ascontiguousarray(picture))
    larger = source.shape[0] < height or source.shape[1] < width
    return (upsample if larger else downsample)(source, height, width)
