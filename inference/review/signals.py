"""What a coarse matte says about itself, measured on the device for a whole batch: no second run of the network.

Shapes are B x C x h x w. Areas are shares of the picture.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 48
"""Longer side in pixels of the grid on which shapes and colours are compared."""
SPREAD = 24
"""Longer side of the grid on which separate objects are found."""
STEPS = 30
"""Steps by which a label spreads over the grid of SPREAD: a winding object of more steps counts as several."""
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
KEPT_MATRICES = 64
"""Matrices of `averaging` that are kept, of some kilobytes each: the grid of a canvas needs four."""
TINY = 1e-4
"""Added to areas that are divided by."""

SIGNALS = ("undecided", "unstable", "intricate", "scattered", "border", "low_contrast", "shadow", "clutter", "coverage")
"""The columns of what `measure` returns."""


def measure(matte: Tensor, canvas: Tensor) -> Tensor:
    """Measure every signal of a batch: B x 9 float32, in the order of SIGNALS.

    Takes the coarse matte B x 1 x h x w in 0..1 and the pictures it was made from, B x 3 x H x W in 0..1.
    """
    matte = matte.float()
    small = shrink(matte, GRID)
    colours = F.interpolate(canvas.float(), size=small.shape[-2:], mode="area")
    inside = (small > 0.5).float()
    covered = mean(inside)
    edge, likeness = edge_and_likeness(inside, colours)
    steps = slopes(brightness(colours))
    columns = (
        undecided(matte),
        unstable(matte),
        intricate(edge, covered),
        scattered(shrink(matte, SPREAD)),
        border(small),
        mean(edge * likeness) / (mean(edge) + TINY),
        shadow(small, inside, colours, steps) / (covered + TINY),
        mean(steps * (1 - inside)) / (1 - covered + TINY),
        mean(matte),
    )
    return torch.stack(columns, 1)


def mean(plane: Tensor) -> Tensor:
    """Average B x C x h x w over everything but the batch: B."""
    return plane.flatten(1).mean(1)


def shrink(plane: Tensor, longest: int) -> Tensor:
    """Average B x C x h x w down to a longer side of at most `longest`."""
    height, width = plane.shape[-2:]
    scale = min(1.0, longest / max(height, width))
    return F.interpolate(plane, size=(max(1, round(height * scale)), max(1, round(width * scale))), mode="area")


def undecided(matte: Tensor) -> Tensor:
    """Return how much of the object is neither in nor out: the sum of 4 a (1 - a) over the sum of a, as a logarithm."""
    return torch.log((mean(4 * matte * (1 - matte)) + TINY) / (mean(matte) + TINY))


def unstable(matte: Tensor) -> Tensor:
    """Return which share of the object depends on the threshold: 1 - area above 0.9 / area above 0.1.

    After the stability score of Kirillov et al., "Segment Anything", 2023, which shifts the threshold of a mask.
    """
    return 1 - (mean((matte > 0.9).float()) + TINY) / (mean((matte > 0.1).float()) + TINY)


def intricate(edge: Tensor, covered: Tensor) -> Tensor:
    """Return the length of the outline beside the object's size: large for spokes, fur, leaves and shreds."""
    return torch.log((mean(edge) ** 2 + TINY) / (covered + 1e-3))


def scattered(matte: Tensor) -> Tensor:
    """Return the share of the object that lies outside of its largest connected part."""
    inside = (matte > 0.5).float()
    height, width = inside.shape[-2:]
    labels = torch.arange(1, height * width + 1, device=matte.device, dtype=torch.float32).view(1, 1, height, width)
    labels = labels * inside
    for _ in range(STEPS):
        labels = F.max_pool2d(labels, 3, 1, 1) * inside
    counts = labels.new_zeros(len(matte), height * width + 1)
    counts.scatter_add_(1, labels.flatten(1).long(), inside.flatten(1))
    counts = counts * (counts >= SMALLEST)
    return 1 - counts.amax(1) / counts.sum(1).clamp_min(1)


def border(matte: Tensor) -> Tensor:
    """Return the share of the frame that the object touches."""
    lines = (matte[..., 0, :], matte[..., -1, :], matte[..., 0], matte[..., -1])
    return (torch.cat([line.flatten(1) for line in lines], 1) > 0.5).float().mean(1)


def edge_and_likeness(inside: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """Find the cells along the edge, and those where the colours on both sides of it are alike: B x 1 x h x w each."""
    near, far = local_mean(inside, RING), local_mean(1 - inside, RING)
    ours = local_mean(colours * inside, RING) / (near + 1e-3)
    others = local_mean(colours * (1 - inside), RING) / (far + 1e-3)
    edge = (slopes(inside) > 0).float()
    return edge, ((ours - others).abs().amax(1, keepdim=True) < ALIKE).float()


def shadow(matte: Tensor, inside: Tensor, colours: Tensor, steps: Tensor) -> Tensor:
    """Return the area of the object that could be a shadow: smooth, darker than the ground around, of the same tint."""
    around = 2 * RING + 1
    ground = local_mean(colours * (1 - matte), around) / (local_mean(1 - matte, around) + 1e-3)
    share = brightness(colours) / (brightness(ground) + 1e-3)
    same = (tint(colours) - tint(ground)).abs().amax(1, keepdim=True) < TINT
    smooth = F.max_pool2d(steps, 3, 1, 1) < SMOOTH
    return mean(inside * (same & smooth & (share < 0.95) & (share > DARKEST_SHADOW)).float())


def local_mean(plane: Tensor, side: int) -> Tensor:
    """Average over the square of `side` (odd) around each cell; outside of the picture is nothing."""
    if plane.device.type != "cpu":
        return F.avg_pool2d(plane, side, 1, side // 2)
    height, width = plane.shape[-2:]
    return averaging(height, side) @ plane @ averaging(width, side)


@lru_cache(maxsize=KEPT_MATRICES)
def averaging(length: int, side: int) -> Tensor:
    """Build the matrix that averages `side` neighbours on a line of `length` numbers: faster than a pool on a CPU."""
    places = torch.arange(length)
    return ((places[:, None] - places).abs() <= side // 2).float() / side


def slopes(plane: Tensor) -> Tensor:
    """Sum the absolute steps to the right and downwards: B x C x h x w."""
    across = (plane[..., :, 1:] - plane[..., :, :-1]).abs()
    down = (plane[..., 1:, :] - plane[..., :-1, :]).abs()
    return F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))


def brightness(colours: Tensor) -> Tensor:
    """Average the channels: B x 1 x h x w."""
    return colours.mean(1, keepdim=True)


def tint(colours: Tensor) -> Tensor:
    """Return each channel's share of the colour."""
    return colours / (colours.sum(1, keepdim=True) + 0.05)
