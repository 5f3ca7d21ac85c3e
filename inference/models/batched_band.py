"""`band` for all pictures of a batch at once: for a GPU, where each operation is a launch.

The functions mean what those of the same name in `band` mean, for pictures of one size with the batch first. What costs
a CPU least, pieces that stay in the cache, costs a GPU most; so here a whole batch is one piece. Three things keep the
number of launches low:

* Where the windows of a size are is computed once (`window_places`), and a window that extends beyond its plane is read
  from clamped places, so that no plane is padded first.
* The windows of all pictures are gathered together. Their number is rounded up to a multiple of WINDOWS, so that
  convolutions see few shapes.
* The host waits for the GPU once for each level, to learn how many cells are undecided in all pictures together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models import band
from inference.models.band import CELL, DECIDED, PARTS, WindowHead, pack_halves
from inference.models.cvunet import CONTRAST, RIM

WINDOWS = 64
"""The number of windows in a convolution is a multiple of this: cuDNN keeps a plan for each shape that it has seen."""
CHUNK = 2048
"""Windows that are refined at a time: bounds the memory to some hundred megabytes, and the number of shapes."""
LIFTED = 4096
"""Windows that are upsampled at a time."""
KEPT_TABLES = 512
"""Tables that are kept, of some kilobytes each: a size of pictures needs about twenty."""


def refine(pictures: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """Compute alpha B x H x W uint8 for pictures of B x H x W words.

    `logits`, B x 1 x h x w, and `guide`, B x C x h' x w', may be of any coarser size.
    """
    levels = pyramid(pictures, floor=max(logits.shape[-2:]))
    count = band.refined_levels([level[0] for level in levels])
    refined = logits[:, 0, :, :, None]  # [B, h, w, 1]
    for level in levels[:count]:
        refined = refine_level(level, refined[..., 0].float(), guide, head)  # [B, H, W, 4]
    return upsample(pictures, levels[count - 1], refined, 1 << len(levels) - count)


def refine_level(level: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """Refine levels of B x H x W words from coarser logits B x h x w: B x H x W x 4 half, logits and three slopes."""
    height, width = level.shape[1:]
    even = pad_to_multiple(level, 2)
    size = even.shape[1:]
    enlarged = F.interpolate(logits[:, None], size=size, mode="bilinear")[:, 0]  # [B, H, W]
    refined = even.new_zeros((*even.shape, 4), dtype=torch.half)
    refined[..., 0] = enlarged
    advice = F.interpolate(guide, size=[side // 2 for side in size], mode="bilinear").movedim(1, -1).contiguous()
    packed, target = advice.view(torch.int64), pack_halves(refined)
    for cells in chunks(undecided_cells(cell_bounds(logits, *size)), CHUNK):
        windows, guided = cells.windows(size, (RIM, 1), (RIM // 2 - 1, 2))
        around = windows.blocks()
        guides = packed[guided.places()].view(guide.dtype)  # [N, h, w, C]
        target[windows.within(RIM).blocks()] = pack_halves(head(even[around], enlarged[around], guides))
    return refined[:, :height, :width]


def upsample(pictures: Tensor, levels: Tensor, refined: Tensor, factor: int) -> Tensor:
    """Compute alpha B x H x W uint8 for pictures `factor` times as large as their refined levels of B x h x w words."""
    height, width = pictures.shape[1:]
    padded = pad_to_multiple(pictures, factor)
    size = padded.shape[1:]
    bounds = cell_bounds(refined[..., 0].float(), *size)
    opaque = (bounds[:, 0] < 0).to(torch.uint8).mul_(255)  # [B, rows, columns]
    every = opaque[:, :, None, :, None].expand(-1, -1, CELL, -1, CELL)
    alpha = every.clone(memory_format=torch.contiguous_format).flatten(3).flatten(1, 2)
    rows, columns = (upsampling_matrix(min(CELL, side) // factor, factor, alpha.device) for side in size)
    packed = pack_halves(refined)
    for cells in chunks(undecided_cells(bounds), LIFTED):
        around, inner = (windows.places() for windows in cells.windows(size, (1, factor), (0, 1)))
        models = linear_models(packed[around][..., None].view(torch.half), colours(levels[around]))  # [N, 4, h, w]
        alpha[inner] = band.quantise(evaluate(rows @ models @ columns.T, colours(padded[inner])))
    return alpha[:, :height, :width].contiguous()


class Cells(NamedTuple):
    """N undecided cells of a batch: the picture, the row and the column of each."""

    picture: Tensor
    row: Tensor
    column: Tensor

    def windows(self, size: Sequence[int], *kinds: tuple[int, int]) -> list[Windows]:
        """Find the cells' windows in planes that are `factor` times smaller than `size`, for each (rim, factor).

        They cover CELL / factor pixels and a rim on each side. All kinds are looked up at once.
        """
        rows, columns = lines(size[0], self.row, kinds), lines(size[1], self.column, kinds)
        return [Windows(self.picture, *both) for both in zip(rows, columns, strict=True)]


class Windows(NamedTuple):
    """N windows: the picture of each, and the rows and columns that it covers, N x h and N x w."""

    picture: Tensor
    rows: Tensor
    columns: Tensor

    def within(self, rim: int) -> Windows:
        """Return the windows without a rim on each side."""
        return Windows(self.picture, self.rows[:, rim:-rim], self.columns[:, rim:-rim])

    def places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index planes B x H x W (x C): N x h x w (x C)."""
        return self.picture[:, None, None], self.rows[:, :, None], self.columns[:, None]

    def blocks(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index planes B x H x W by blocks of 2 x 2 pixels: N x h/2 x w/2 x 2 x 2."""
        rows, columns = (lines.view(len(lines), -1, 2) for lines in (self.rows, self.columns))
        return self.picture[:, None, None, None, None], rows[:, :, None, :, None], columns[:, None, :, None]


def lines(side: int, cells: Tensor, kinds: tuple[tuple[int, int], ...]) -> Sequence[Tensor]:
    """Look up the indices along one side that the windows of N cells cover, for each (rim, factor): N x length."""
    lengths = [window_places(side, *kind, cells.device).shape[1] for kind in kinds]
    return torch.split(joined_places(side, kinds, cells.device)[cells], lengths, 1)


@lru_cache(maxsize=KEPT_TABLES)
def joined_places(side: int, kinds: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """Put the `window_places` of several kinds, each (rim, factor), side by side: cells x all their lengths."""
    return torch.cat([window_places(side, *kind, device) for kind in kinds], 1)


@lru_cache(maxsize=KEPT_TABLES)
def window_places(side: int, rim: int, factor: int, device: torch.device) -> Tensor:
    """List the indices along one side that the windows of its cells cover: cells x length.

    The picture's side is `side`, and its plane's is `factor` times smaller. The last window is moved inwards; indices
    beyond the plane are clamped, which repeats its border.
    """
    starts = torch.arange(0, side, CELL).clamp(max=max(0, side - CELL)) // factor
    offsets = torch.arange(-rim, min(CELL, side) // factor + rim)
    return (starts[:, None] + offsets).clamp(0, side // factor - 1).to(device)


@lru_cache(maxsize=KEPT_TABLES)
def upsampling_matrix(length: int, factor: int, device: torch.device) -> Tensor:
    """See `band.upsampling_matrix`."""
    return band.upsampling_matrix(length, factor, device)


def cell_bounds(logits: Tensor, height: int, width: int) -> Tensor:
    """Find bounds of logits B x h x w in and near each cell of height x width pictures: B x 2 x rows x columns.

    The first is the lowest logit with its sign turned, the second the highest one.
    """
    rows, columns = -(-height // CELL), -(-width // CELL)
    down, across = (
        round(side * (whole * CELL / part - 1))
        for side, whole, part in zip(logits.shape[1:], (rows, columns), (height, width), strict=True)
    )
    both = F.pad(torch.stack((-logits, logits), 1), (0, across, 0, down), mode="replicate")
    parts = band.max_over_parts(band.max_over_parts(both, rows * PARTS, 2), columns * PARTS, 3)
    return F.max_pool2d(parts, PARTS + 2, PARTS, 1)


def undecided_cells(bounds: Tensor) -> Tensor:
    """Find the cells to refine, N x 3: picture, row and column of each. Waits for the GPU."""
    return (bounds.amin(1) > -DECIDED).nonzero()


def chunks(cells: Tensor, most: int) -> Iterator[Cells]:
    """Divide N x 3 cells into chunks of `most`; the last cell is repeated up to a multiple of WINDOWS."""
    for some in torch.split(cells, most):
        if len(some):
            missing = -len(some) % WINDOWS
            yield Cells(*(torch.cat((some, some[-1:].expand(missing, -1))) if missing else some).unbind(1))


def warm_up(head: WindowHead, guides: int, dtype: torch.dtype, device: torch.device) -> None:
    """Run the head for every number of windows that `chunks` makes; guides have `guides` channels."""
    side = (CELL + 2 * RIM) // 2
    for count in range(WINDOWS, CHUNK + 1, WINDOWS):
        words = torch.zeros((count, side, side, 2, 2), dtype=torch.int32, device=device)
        guide = torch.zeros((count, side - 2, side - 2, guides), dtype=dtype, device=device)
        head(words, words.float(), guide)


def linear_models(refined: Tensor, colours: Tensor) -> Tensor:
    """Express alpha as linear functions of colour, N x 4 x h x w; see `band.linear_models`.

    Takes logits and slopes, N x h x w x 4, and colours, N x h x w x 4 in 0..255.
    """
    values = refined.float()
    slopes = values[..., 1:] * (CONTRAST / 255)
    constant = values[..., 0].sigmoid()
    for channel in range(3):
        constant = torch.addcmul(constant, slopes[..., channel], colours[..., channel], value=-1)
    return torch.cat((constant[:, None], slopes.movedim(-1, 1)), 1)


def evaluate(models: Tensor, colours: Tensor) -> Tensor:
    """Evaluate linear models N x 4 x h x w at colours N x h x w x 4 in 0..255: alpha N x h x w, about 0..1."""
    alpha = models[:, 0]
    for channel in range(3):
        alpha = torch.addcmul(alpha, models[:, channel + 1], colours[..., channel])
    return alpha


def colours(words: Tensor) -> Tensor:
    """Convert ... words to ... x 4 floats in 0..255; the last of them is the undefined fourth byte."""
    return words[..., None].view(torch.uint8).float()


def pyramid(pictures: Tensor, floor: int) -> list[Tensor]:
    """Halve B x H x W words until the longer side is at most `floor`. Smallest level first."""
    levels = [pictures]
    while max(levels[0].shape[1:]) > floor:
        levels.insert(0, halve(levels[0]))
    return levels


def halve(pictures: Tensor) -> Tensor:
    """Average each 2 x 2 block of B x H x W words, byte by byte; see `band.halve`."""
    pixels = pad_to_multiple(pictures, 2)[..., None].view(torch.uint8).movedim(-1, 1).half()  # [B, 4, H, W]
    # Halves of bytes are exact in 16 bits. Rows are rounded down and columns up, as there.
    rows = F.avg_pool2d(pixels, (2, 1)).floor_()
    return F.avg_pool2d(rows, (1, 2)).ceil_().to(torch.uint8).movedim(1, -1).contiguous().view(torch.int32)[..., 0]


def pad_to_multiple(planes: Tensor, step: int) -> Tensor:
    """Repeat the last row and column of B x H x W until both sides are multiples of `step`."""
    down, across = (-side % step for side in planes.shape[1:])
    if across:
        planes = torch.cat((planes, planes[:, :, -1:].expand(-1, -1, across)), 2)
    return torch.cat((planes, planes[:, -1:].expand(-1, down, -1)), 1) if down else planes
