"""The schedule of picture sizes: small ones first, at last nearly the canvas at which the network will run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 32


@dataclass(frozen=True)
class Shape:
    """One batch: pictures of height x width, which the U-Net sees on a canvas of that divided by `ratio`."""

    height: int
    width: int
    ratio: int
    batch: int


@dataclass(frozen=True)
class Phase:
    """A phase of the training, up to a part of its time, in which canvases have one of these longer sides."""

    until: float
    sides: tuple[int, ...]


PHASES = (
    Phase(until=0.25, sides=(160, 192, 224)),
    Phase(until=0.60, sides=(192, 256, 320)),
    Phase(until=1.00, sides=(256, 320, 448)),
)
PIXELS_PER_BATCH = 10 * 256 * 256


def shape_at(progress: float, rng: np.random.Generator) -> Shape:
    """The shape of the next batch when `progress` (0..1) of the training is over: pictures of the canvas's own size."""
    phase = next((p for p in PHASES if progress < p.until), PHASES[-1])
    long_side = int(rng.choice(phase.sides))
    short_side = long_side if rng.random() < 0.5 else round(long_side * rng.uniform(0.45, 1.0) / STEP) * STEP
    height, width = (long_side, short_side) if rng.random() < 0.5 else (short_side, long_side)
    return Shape(height, width, 1, batch=int(np.clip(PIXELS_PER_BATCH // (height * width), 8, 32)))


EDGE_SIDES = (192, 256, 320)
EDGE_RATIOS = (2, 3, 4)
LARGEST_PICTURE = 768


def edge_shape(rng: np.random.Generator) -> Shape:
    """The shape of a batch for the edge head alone: pictures several times as large as the canvas."""
    ratio = int(rng.choice(EDGE_RATIOS))
    long_side = int(rng.choice([side for side in EDGE_SIDES if side * ratio <= LARGEST_PICTURE]))
    short_side = long_side if rng.random() < 0.5 else round(long_side * rng.uniform(0.5, 1.0) / STEP) * STEP
    height, width = (long_side, short_side) if rng.random() < 0.5 else (short_side, long_side)
    batch = int(np.clip(PIXELS_PER_BATCH * 3 // (height * width * ratio * ratio), 4, 16))
    return Shape(height * ratio, width * ratio, ratio, batch)
