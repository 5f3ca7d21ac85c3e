"""What `band` does, on a CPU with compiled kernels: the same cells, windows and formulas, in fewer passes over memory.

A level of the pyramid is a plane of words and a plane of logits. Windows of the cells that are undecided are copied in
the form that the convolutions take, and what these find is added to the plane of logits. At the picture's own size,
each undecided cell goes from the low-resolution line (a constant and three slopes) to bytes of alpha while it is in the
cache; see `kernels.c`. `band` stays as the reference: tests compare the two, within 1 of 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.kernels import Kernels
from inference.models.band import DECIDED, SNAP, WindowHead, refined_levels
from inference.models.cvunet import CONTRAST, EdgeHead
from inference.models.fused_convolution import Weights, pointwise

CHUNK = 64
"""Windows that are refined at a time: enough for the cost of a call, few enough for the cache."""


class FusedHead(WindowHead):
    """A `WindowHead` with compiled kernels; with `fusing`, its convolutions add and activate in the same pass."""

    def __init__(self, edge: EdgeHead, kernels: Kernels, fusing: bool) -> None:
        super().__init__(edge)
        self.kernels, self._fusing = kernels, fusing
        self._fused = [Weights(*weights) for weights in (self._see, self._think, self._correct)]

    def convolve(self, blocks: Tensor, guide: Tensor) -> Tensor:
        """See `WindowHead.convolve`."""
        if not self._fusing:
            return super().convolve(blocks, guide)
        see, think, correct = self._fused
        y = pointwise(blocks.movedim(-1, 1), see, "relu", guide.movedim(-1, 1))
        return pointwise(pointwise(y, think, "relu"), correct).movedim(1, -1)


def refine(picture: Tensor, logits: Tensor, guide: Tensor, head: FusedHead) -> Tensor:
    """Compute alpha H x W uint8 for a picture of H x W words; as `band.refine`."""
    levels = pyramid(picture, max(logits.shape[-2:]), head.kernels)
    count = refined_levels(levels)
    places = guide[0].movedim(0, -1).contiguous()  # [h, w, C]
    plane, slopes = logits[0, 0].float().contiguous(), None
    for index, level in enumerate(levels[:count]):
        plane, slopes = refine_level(level, plane, places, head, with_slopes=index == count - 1)
    assert slopes is not None, "there is always one level at least"
    return upsample(picture, levels[count - 1], plane, slopes, 1 << len(levels) - count, head.kernels)


def pyramid(picture: Tensor, floor: int, kernels: Kernels) -> list[Tensor]:
    """Halve H x W words as `band.pyramid` does."""
    levels = [picture]
    while max(levels[0].shape) > floor:
        levels.insert(0, kernels.halve(levels[0]))
    return levels


def refine_level(
    level: Tensor, logits: Tensor, guide: Tensor, head: FusedHead, with_slopes: bool
) -> tuple[Tensor, Tensor | None]:
    """Refine a level of H x W words from coarser logits h x w and a guide h' x w' x C.

    Returns logits H x W, and slopes in a plane that may be a row and a column larger (x 4 half, the last one unused).
    """
    kernels, (height, width) = head.kernels, level.shape
    size = (height + height % 2, width + width % 2)
    enlarged = kernels.enlarge(logits, *size)
    refined = enlarged.clone()
    slopes = torch.zeros(*size, 4, dtype=torch.half) if with_slopes else None
    cells, _ = kernels.find_cells(logits, *size, DECIDED)
    for chunk in torch.split(cells, CHUNK) if len(cells) else ():
        windows = kernels.gather(level, enlarged, chunk, guide.dtype)
        found = head.convolve(windows, kernels.gather_guide(guide, *size, chunk))
        kernels.scatter(found, enlarged, chunk, refined, slopes)
    return refined[:height, :width], slopes


def upsample(picture: Tensor, level: Tensor, logits: Tensor, slopes: Tensor, factor: int, kernels: Kernels) -> Tensor:
    """Compute alpha H x W uint8 for a picture `factor` times as large as its refined level; as `band.upsample`."""
    height, width = (-(-side // factor) * factor for side in picture.shape)
    found = kernels.find_cells(logits, height, width, DECIDED)
    return kernels.upsample(picture, level, logits, slopes, found, CONTRAST / 255, SNAP, factor)
