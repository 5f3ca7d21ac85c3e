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
from inference.labels import label, totals

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
CLEAR = -20.0
"""The logit of what is dropped: alpha 0 in 16 bits, too."""


def drop_unsure_islands(logits: Tensor, kernels: Kernels | None = None) -> Tensor:
    """Set logits B x 1 x h x w (even sides) to CLEAR on unsure islands and close around them, in place; returns them.

    Nothing is dropped from a picture without a sure island. With kernels this costs a fraction of a millisecond.
    Without them nothing waits for the device: all shapes and rounds are fixed.
    """
    if kernels:
        for plane in logits:
            kernels.drop_unsure_islands(plane[0], SURE, SURE_SHARE, SMALL, CLEAR, MARGIN)
        return logits
    parts = F.avg_pool2d(torch.cat((logits > 0, logits > SURE), 1).float(), CELL)  # [B, 2, h, w] of the cells
    seen = parts[:, :1] > 0
    labels = label(seen)
    cells = labels.flatten(1)
    area, sure = totals(parts, cells).unbind(1)  # [B, numbers]
    unsure = sure < SURE_SHARE * area
    largest = (area * ~unsure).amax(1, keepdim=True)
    unsure &= (largest > 0) & (area >= SMALL * largest)
    dropped = unsure.gather(1, cells).view_as(seen)
    around = F.max_pool2d(torch.cat((dropped, seen ^ dropped), 1).float(), 2 * MARGIN + 1, 1, MARGIN)
    cleared = around[:, :1] > around[:, 1:]  # near what is dropped, and not near what is kept
    rows, columns = seen.shape[2:]
    blocks = logits.view(-1, 1, rows, CELL, columns, CELL)
    blocks.masked_fill_(cleared[:, :, :, None, :, None], CLEAR)
    return logits
