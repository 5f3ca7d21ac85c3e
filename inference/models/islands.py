"""Drop what the network keeps beside the object without being sure of it: a rock, a tree trunk, a bright cloud.

An *island* is a connected part of a coarse matte. The object's own island is full of pixels whose alpha is above 0.9.
A second thing that only stands out is an island whose pixels mostly stay undecided. Such an island is dropped where
another one in the picture is sure. Islands that are all sure stay, so a picture may show several objects.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.kernels import Kernels

CELL = 2
"""Side in pixels of the matte's cells, by which islands are distinguished."""
SURE = 2.1875
"""The logit of alpha 0.9, as a number that is the same in 16 bits: whoever compares with it then finds the same."""
SURE_SHARE = 0.2
"""The least share of sure pixels, of those with alpha above 0.5, in an island that is kept."""
SMALL = 0.05
"""The area of an island, as a part of the largest sure one's, below which it stays: a foot, a leaf, a string's end."""
MARGIN = 2
"""Cells around a dropped island that are cleared as well, where no other island is as near."""
ROUNDS = 10
"""How often labels spread, see `label`."""
CLEAR = -20.0
"""The logit of what is dropped: alpha 0 in 16 bits, too."""


def drop_unsure_islands(logits: Tensor, kernels: Kernels | None = None) -> Tensor:
    """Set logits B x 1 x h x w (even sides) to CLEAR on unsure islands and close around them; elsewhere unchanged.

    Nothing is dropped from a picture without a sure island. With kernels, which change the logits in place, this costs
    a fraction of a millisecond. Without them nothing waits for the device: all shapes and rounds are fixed.
    """
    if kernels:
        for plane in logits:
            kernels.drop_unsure_islands(plane[0], SURE, SURE_SHARE, SMALL, CLEAR, MARGIN)
        return logits
    seen = logits > 0
    labels = label(F.max_pool2d(seen.float(), CELL))
    cells = labels.flatten(1).long()  # [B, cells]
    area, sure = (_total(mask, cells) for mask in (seen, logits > SURE))  # [B, cells + 1]
    unsure = sure < SURE_SHARE * area
    largest = area.masked_fill(unsure, 0).amax(1, keepdim=True)
    unsure &= (largest > 0) & (area >= SMALL * largest)
    dropped = unsure.gather(1, cells).view_as(labels)
    kept = (labels > 0) & ~dropped
    cleared = (_grown(dropped) > 0) & (_grown(kept) == 0)
    return logits.masked_fill(F.interpolate(cleared.to(logits.dtype), scale_factor=CELL) > 0, CLEAR)


def label(mask: Tensor) -> Tensor:
    """Number the islands of a mask B x 1 x h x w of zeros and ones, each by one of its cells; 0 is outside.

    Cells that touch at a corner belong to one island. In each round every cell looks at its neighbours, passes what it
    found on to the cell that names its island, and takes that cell's name (Zhang, Azad and Hu, "FastSV: A
    Distributed-Memory Connected Component Algorithm with Fast Convergence", 2020). ROUNDS rounds are enough for a
    spiral over 112 x 112 cells; an island that winds more may get two numbers. Returns floats: numbers up to 2^24 are
    exact.
    """
    count = mask.shape[-2] * mask.shape[-1]
    labels = mask.flatten(1) * torch.arange(1, count + 1, dtype=mask.dtype, device=mask.device)
    for _ in range(ROUNDS):
        near = (mask * F.max_pool2d(labels.view_as(mask), 3, 1, 1)).flatten(1)
        names = F.pad(labels, (1, 0)).scatter_reduce(1, labels.long(), near, "amax")
        names[:, 0] = 0
        labels = names.gather(1, names.gather(1, labels.long()).long())
    return labels.view_as(mask)


def _total(mask: Tensor, cells: Tensor) -> Tensor:
    """Sum a mask B x 1 x h x w over the label of each cell, B x cells: B x (cells + 1), in cells; label 0 counts as 0.

    Sums of quarters are exact in any order.
    """
    weights = F.avg_pool2d(mask.float(), CELL).flatten(1)
    totals = weights.new_zeros(len(weights), cells.shape[1] + 1)
    totals.scatter_add_(1, cells, weights)
    totals[:, 0] = 0
    return totals


def _grown(mask: Tensor) -> Tensor:
    return F.max_pool2d(mask.float(), 2 * MARGIN + 1, 1, MARGIN)
