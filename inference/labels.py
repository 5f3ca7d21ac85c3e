"""The connected parts of masks, for whole batches and by a fixed number of operations: nothing waits for a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 10
"""How often labels spread, see `label`."""


def label(mask: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Number the islands of a mask B x 1 x h x w, bool, each by a number below (h + 2) * w; 0 is outside.

    Cells that touch at a corner belong to one island. In each round every cell looks at its neighbours, passes what it
    found on to the cell that names its island, and takes that cell's name (Zhang, Azad and Hu, "FastSV: A
    Distributed-Memory Connected Component Algorithm with Fast Convergence", 2020). ROUNDS rounds are enough for a
    spiral over 112 x 112 cells; an island that winds more may get two numbers. Returns B x 1 x h x w int64.
    """
    # Two rows more above, so that number 0 and its neighbours are outside, whatever the mask is.
    inside = F.pad(mask, (0, 0, 2, 0))
    labels = torch.arange(inside[0].numel(), device=mask.device).view_as(inside[0]) * inside
    for _ in range(rounds):
        # Pooling takes floats. The bits of integers from 0 on, read as doubles, have the same order.
        found = F.max_pool2d(labels.view(torch.float64), 3, 1, 1).view(torch.int64)
        near, names, known = (found * inside).flatten(1), found.flatten(1), labels.flatten(1)
        names.scatter_reduce_(1, known, near, "amax")
        labels = names.gather(1, names.gather(1, known)).view_as(inside)
    return labels[:, :, 2:]


def totals(parts: Tensor, labels: Tensor) -> Tensor:
    """Sum what B x C x h x w cells hold by their label, B x (h * w): B x C x numbers.

    Cells outside, with label 0, must hold nothing. Sums of quarters are exact in any order.
    """
    sums = parts.new_zeros(*parts.shape[:2], (parts.shape[2] + 2) * parts.shape[3])
    return sums.scatter_add_(2, labels[:, None].expand(-1, parts.shape[1], -1), parts.flatten(2))
