"""What a coarse matte says about itself, measured on the device for a whole batch: no second run of the network.

Shapes are B x C x h x w. Areas are shares of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.labels import label, totals
from inference.neighbourhoods import local_mean

GRID = 48
"""Longer side in pixels of the grid on which shapes and colours are compared."""
SPREAD = 24
"""Longer side of the grid on which separate objects are found."""
ROUNDS = 6
"""How often labels spread over the grid of SPREAD, see `labels.label`: enough for any spiral that fits into it."""
SMALLEST = 3
"""Cells of the grid of SPREAD that an object has at least."""
RING = 5
"""Side in cells of the neighbourhood in which the colours on both sides of the edge are compared."""
ALIKE = 0.08
"""Colours (0..1) that differ by less in every channel count as alike."""
TINT = 0.02
"""Shares of red, green and blue that differ by less count as one tint."""
DARKEST_SHADOW = 0.3
"""Brightness of a shadow beside that of the lit ground, at least."""
SMOOTH = 0.06
"""Steps of brightness from cell to cell, at most, within a shadow."""
TINY = 1e-4
"""Added to areas that are divided by."""

SIGNALS = ("undecided", "unstable", "intricate", "scattered", "border", "low_contrast", "shadow", "clutter", "coverage")
"""What `signals` returns, in this order."""


class Measures(NamedTuple):
    """What is measured of one matte, as shares of the picture unless said otherwise."""

    coverage: float
    """The mean alpha a."""
    mixed: float
    """The mean of a (1 - a)."""
    sure: float
    """The area above 0.9."""
    possible: float
    """The area above 0.1."""
    inside: float
    """The cells of the grid of GRID that are mostly object: what follows but for the last two is measured on it."""
    edge: float
    """The cells along the object's edge."""
    alike: float
    """Those of them where the colours on both sides of the edge are alike."""
    shadow: float
    """The part of the object that could be a shadow."""
    steps: float
    """The mean over the picture of the steps of brightness, of the background only."""
    frame: float
    """The share of the frame that the object touches."""
    largest: float
    """Cells of the grid of SPREAD in the largest connected part of the object."""
    objects: float
    """Cells of that grid in all parts that are not tiny."""


def measure(matte: Tensor, canvas: Tensor, pooled: bool = False) -> Tensor:
    """Measure a batch: B x 12 float32, each row a `Measures`.

    Takes the coarse matte B x 1 x h x w, float32 in 0..1, and the pictures it was made from, B x 3 x H x W in 0..1.
    `pooled` is for a GPU, see `local_mean`.
    """
    small = shrink(matte, GRID)
    colours = F.interpolate(canvas.float(), size=small.shape[-2:], mode="area")
    inside = small > 0.5
    changes = slopes(torch.cat((inside.float(), colours.mean(1, keepdim=True)), 1))
    edge, steps = changes[:, :1] > 0, changes[:, 1:]
    coloured = torch.cat((torch.ones_like(small), colours), 1)  # the first channel will count what the others sum up
    alike = edge & likeness(inside, coloured, pooled)
    masks = torch.cat((inside, edge, alike, inside & shadow(small, coloured, steps, pooled)), 1)
    parts = (
        means(matte, matte * (1 - matte), (matte > 0.9).float(), (matte > 0.1).float()),
        means(masks.float(), steps * ~inside),
        frame(inside).float().mean(1, keepdim=True),
        *islands(shrink(matte, SPREAD) > 0.5),
    )
    return torch.cat(parts, 1)


def signals(measured: Sequence[float]) -> tuple[float, ...]:
    """Compute every signal from a row of what `measure` returns. Here on the host, where it launches nothing.

    * undecided: how much of the object is neither in nor out, the sum of 4 a (1 - a) over the sum of a, as a logarithm.
    * unstable: which share of the object depends on the threshold, after the stability score of Kirillov et al.,
      "Segment Anything", 2023, which shifts the threshold of a mask.
    * intricate: the length of the outline beside the object's size, large for spokes, fur, leaves and shreds.
    * scattered: the share of the object that lies outside of its largest connected part.
    * border: the share of the frame that the object touches.
    * low_contrast: the share of the edge where the colours on both sides are alike.
    * shadow: the share of the object that could be a shadow.
    * clutter: how much the brightness of the background changes from cell to cell.
    * coverage: the share of the picture that is object.
    """
    m = Measures(*measured)
    return (
        math.log((4 * m.mixed + TINY) / (m.coverage + TINY)),
        1 - (m.sure + TINY) / (m.possible + TINY),
        math.log((m.edge**2 + TINY) / (m.inside + 1e-3)),
        1 - m.largest / max(m.objects, 1),
        m.frame,
        m.alike / (m.edge + TINY),
        m.shadow / (m.inside + TINY),
        m.steps / (1 - m.inside + TINY),
        m.coverage,
    )


def means(*planes: Tensor) -> Tensor:
    """Average planes B x ... x h x w, channel by channel: B x C."""
    return torch.cat(planes, 1).mean((2, 3))


def shrink(plane: Tensor, longest: int) -> Tensor:
    """Average B x C x h x w down to a longer side of at most `longest`."""
    height, width = plane.shape[-2:]
    scale = min(1.0, longest / max(height, width))
    return F.interpolate(plane, size=(max(1, round(height * scale)), max(1, round(width * scale))), mode="area")


def islands(inside: Tensor) -> tuple[Tensor, Tensor]:
    """Count the cells in the largest connected part of a mask B x 1 x h x w, and in all that are not tiny: B x 1."""
    cells = totals(inside.float(), label(inside, ROUNDS).flatten(1))[:, 0]
    cells = cells * (cells >= SMALLEST)
    return cells.amax(1, keepdim=True), cells.sum(1, keepdim=True)


def frame(plane: Tensor) -> Tensor:
    """Collect the outermost cells of B x 1 x h x w, those in the corners twice: B x N."""
    return torch.cat((plane[:, 0, 0], plane[:, 0, -1], plane[:, 0, :, 0], plane[:, 0, :, -1]), 1)


def likeness(inside: Tensor, coloured: Tensor, pooled: bool) -> Tensor:
    """Find the cells around which the object and the rest have like colours: B x 1 x h x w, bool.

    Takes the object's cells, bool, and the picture behind a channel of ones, B x 4 x h x w.
    """
    sides = torch.cat((inside * coloured, ~inside * coloured))  # [2 * B, 4, h, w]
    ours, others = mean_colours(sides, RING, pooled).chunk(2)
    return (ours - others).abs().amax(1, keepdim=True) < ALIKE


def shadow(matte: Tensor, coloured: Tensor, steps: Tensor, pooled: bool) -> Tensor:
    """Find the cells that could be a shadow: smooth, darker than the ground around, of the same tint."""
    ground = mean_colours(coloured * (1 - matte), 2 * RING + 1, pooled)
    both = torch.stack((coloured[:, 1:], ground), 1)  # [B, 2, 3, h, w]
    light = both.sum(2, keepdim=True)
    share = light[:, 0] / (light[:, 1] + 3e-3)
    tints = both / (light + 0.05)
    same = (tints[:, 0] - tints[:, 1]).abs().amax(1, keepdim=True) < TINT
    smooth = F.max_pool2d(steps, 3, 1, 1) < SMOOTH
    return same & smooth & (share < 0.95) & (share > DARKEST_SHADOW)


def mean_colours(coloured: Tensor, side: int, pooled: bool) -> Tensor:
    """Average the last channels of B x 4 x h x w around each cell, weighted by the first one: B x 3 x h x w."""
    sums = local_mean(coloured, side, pooled)
    return sums[:, 1:] / (sums[:, :1] + 1e-3)


def slopes(plane: Tensor) -> Tensor:
    """Sum the absolute steps to the right and downwards: B x C x h x w."""
    wide = F.pad(plane, (0, 1, 0, 1), mode="replicate")
    return (wide[..., :-1, 1:] - plane).abs_().add_((wide[..., 1:, :-1] - plane).abs_())
