"""Maxima and means over squares: by shifted planes or products, on a CPU many times as quick as pooling, or pooled.

Pooling takes one or two launches on a GPU. Both find the same.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

KEPT_MATRICES = 64
"""Matrices of `averaging` that are kept, of some kilobytes each: the grids of a canvas need six."""


def widest(x: Tensor, radius: int, pooled: bool = False) -> Tensor:
    """The maximum over squares of 2 radius + 1 around each pixel of B x C x H x W; beyond the border is nothing."""
    size = 2 * radius + 1
    if pooled:
        return F.max_pool2d(x, size, 1, radius)
    for dim, edges in ((-1, (radius, radius)), (-2, (0, 0, radius, radius))):
        x, reach = F.pad(x, edges, value=-math.inf), 1
        while reach < size:
            step = min(reach, size - reach)
            length, reach = x.shape[dim] - step, reach + step
            x = torch.maximum(x.narrow(dim, 0, length), x.narrow(dim, step, length))
    return x


def covered(mask: Tensor, radius: int, pooled: bool = False) -> Tensor:
    """Find where squares of 2 radius + 1 hold only ones, for a mask B x C x H x W of ones and zeros in floats.

    Returns 1 there and less elsewhere. Beyond the border are zeros.
    """
    if pooled:
        return F.avg_pool2d(mask, 2 * radius + 1, 1, radius)
    return -widest(F.pad(-mask, (radius,) * 4), radius)[..., radius:-radius, radius:-radius]


def mean_around(x: Tensor, radius: int, pooled: bool = False) -> Tensor:
    """The mean over squares of 2 radius + 1 around each pixel of B x C x H x W; the border's pixels continue beyond it.

    For a radius of a few pixels: unless pooled, it costs as many additions.
    """
    size = 2 * radius + 1
    if pooled:
        return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), size, 1)
    for dim, edges in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        length = x.shape[dim]
        wide = F.pad(x, edges, mode="replicate")
        x = wide.narrow(dim, 0, length).clone()
        for shift in range(1, size):
            x += wide.narrow(dim, shift, length)
        x /= size
    return x


def local_mean(plane: Tensor, side: int, pooled: bool) -> Tensor:
    """The mean over squares of `side` (odd) around each cell of B x C x H x W; beyond the border are zeros.

    For wide squares: their size costs nothing unless pooled.
    """
    if pooled:
        return F.avg_pool2d(plane, side, 1, side // 2)
    height, width = plane.shape[-2:]
    return averaging(height, side) @ plane @ averaging(width, side)


@lru_cache(maxsize=KEPT_MATRICES)
def averaging(length: int, side: int) -> Tensor:
    """Build the matrix that averages `side` neighbours on a line of `length` numbers: faster than a pool on a CPU."""
    places = torch.arange(length)
    return ((places[:, None] - places).abs() <= side // 2).float() / side
