"""The edge head of CV-UNet, applied only to the band in which the matte is undecided.

In a catalogue photo a few percent of the pixels are neither clearly object nor clearly background. So that cost and
memory grow with the length of the outline instead of the picture's area:

1. The picture is halved repeatedly, down to the size of the coarse matte (`pyramid`).
2. Each level is divided into cells of CELL x CELL pixels. Cells with an undecided pixel in or near them
   (`undecided_cells`) are gathered into a batch of windows, each with a rim as wide as the head's receptive field, and
   the head refines them. The result equals that of the head over the whole level (`refine_level`).
3. The head refines levels of up to DETAIL pixels. From there alpha is upsampled to the picture's own size by the local
   linear models of alpha in colour that the head gives for each pixel (`upsample`, see `cvunet.lift`).

A picture is H x W words of 32 bits (see `rgba`) throughout and is never converted to floats as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.cvunet import CONTRAST, RIM, EdgeHead
from inference.rgba import channels

CELL = 32
"""Side of a cell in pixels: small enough to follow an outline, large enough that the rim does not dominate the cost."""
PARTS = 4
"""A cell is also refined if a neighbour is undecided in the nearest 1 / PARTS of its side: the outline may move."""
SNAP = 0.02
"""Alpha this close to 0 or 1 becomes 0 or 1: haze of a few per mille is never the object and makes files larger."""
DECIDED = 4.0
"""Logits beyond +-DECIDED are final: their alpha is closer than SNAP to 0 or 1."""
CHUNK = 64
"""Windows that are refined at a time on a CPU: they stay in the cache. Bounds the memory as well."""
STRIPE = 128
"""Rows of a picture that are halved at a time on a CPU: they stay in the cache."""
GPU_CHUNK, GPU_STRIPE = 2048, 4096
"""The same on a GPU, where every chunk costs kernel launches: a whole level at once, in some hundred megabytes."""
DETAIL = 1024
"""Longer side in pixels of the largest level that the head refines, unless MOST_LIFTS demands more."""
MOST_LIFTS = 3
"""Halvings between the last refined level and the picture, at most: of larger pictures, larger levels are refined."""
TO_SIGNED = -0x7F7F7F80
"""XOR of a word that turns its four unsigned bytes into signed ones, which 16-bit floats hold with less loss."""
LOW_SEVEN_BITS = 0x7F7F7F7F
"""Masks the highest bit of each byte of a word."""


class WindowHead:
    """An `EdgeHead` for windows of pixels as they lie in memory: the same function, with its weights reordered.

    The head's batch norms must be folded. It runs on the device and in the type of the head's weights.
    """

    def __init__(self, edge: EdgeHead) -> None:
        see, think, correct = edge.see.conv, edge.think.conv, edge.correct
        assert see.bias is not None and think.bias is not None and correct.bias is not None, "batch norms are folded"
        # In memory the four pixels of a 2x2 block follow each other, where pixel-unshuffle has each channel apart.
        order = torch.arange(16, device=correct.weight.device).view(4, 2, 2).permute(1, 2, 0).flatten()
        # Normalising signed bytes, a factor and a constant for each channel, becomes part of the first convolution.
        scale, shift = (
            torch.tensor([value] * 3 + [logit], device=order.device).repeat(4)[:, None, None]
            for value, logit in ((CONTRAST / 255, 1.0), (CONTRAST * (128 / 255 - 0.5), 0.0))
        )
        weight, bias = see.weight.float()[:, order], see.bias.float()
        self._see = as_weights(weight * scale, bias + (weight * shift).sum((1, 2, 3)), see.weight)
        self._think = as_weights(think.weight, think.bias, see.weight)
        self._correct = as_weights(correct.weight[order], correct.bias[order], see.weight)

    def __call__(self, words: Tensor, logits: Tensor, guide: Tensor) -> Tensor:
        """See `EdgeHead.better`. Words and logits N x h x w x 2 x 2, guide N x h x w x C, all with their rims.

        Returns N x h x w x 2 x 2 x 4 half, without rims: refined logits, then slopes.
        """
        x = (words ^ TO_SIGNED).view(torch.int8).view(*words.shape, 4).to(guide.dtype)  # [N, h, w, 2, 2, 4]
        x[..., 3] = logits
        y = self.convolve(x.flatten(3), guide)
        refined = y.reshape(*y.shape[:-1], 2, 2, 4).half()
        rim = RIM // 2
        refined[..., 0].add_(logits[:, rim:-rim, rim:-rim])  # computed in the 32 bits of these logits
        return refined

    def convolve(self, blocks: Tensor, guide: Tensor) -> Tensor:
        """Run the convolutions on blocks N x h x w x 16 with a guide N x (h - 2) x (w - 2) x C.

        Returns N x (h - 6) x (w - 6) x 16: a logit and three slopes for each pixel of a block.
        """
        y = F.conv2d(blocks.movedim(-1, 1), *self._see)  # [N, C, h - 2, w - 2]
        y = F.conv2d(y.add_(guide.movedim(-1, 1)).relu_(), *self._think)  # [N, C, h - 4, w - 4]
        return F.conv2d(y.relu_(), *self._correct).movedim(1, -1)  # [N, h - 6, w - 6, 16]


def as_weights(weight: Tensor, bias: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Convert to the type of `like`, laid out for convolutions over channels-last pictures."""
    return weight.to(like.dtype, memory_format=torch.channels_last), bias.to(like.dtype)


def refine(picture: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """Compute alpha H x W uint8 for a picture of H x W words.

    `logits`, 1 x 1 x h x w, and `guide`, 1 x C x h' x w', may be of any coarser size.
    """
    levels = pyramid(picture, floor=max(logits.shape[-2:]))
    count = refined_levels(levels)
    refined = logits[0, 0, :, :, None]  # [h, w, 1]
    for level in levels[:count]:
        refined = refine_level(level, refined[..., 0].float(), guide, head)  # [H, W, 4]
    return upsample(picture, levels[count - 1], refined, 1 << len(levels) - count)


def refined_levels(levels: list[Tensor]) -> int:
    """Count the levels that the head refines: those within DETAIL, and enough to leave MOST_LIFTS halvings."""
    return max(1, sum(max(level.shape) <= DETAIL for level in levels), len(levels) - MOST_LIFTS)


def refine_level(level: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """Refine a level of H x W words from coarser logits h x w: returns H x W x 4 half, logits and three slopes.

    In cells where nothing is undecided, logits are enlarged only, and slopes are 0.
    """
    height, width = level.shape
    even = pad_to_multiple(level, 2)
    size = even.shape
    enlarged = F.interpolate(logits[None, None], size=size, mode="bilinear")[0, 0]  # [H, W]
    refined = F.pad(enlarged[..., None].half(), (0, 3))  # [H, W, 4]
    advice = F.interpolate(guide, size=[side // 2 for side in size], mode="bilinear")[0].movedim(0, -1).contiguous()
    target = Windows(pack_halves(refined), size)
    picture, around = (Windows(pad_border(plane, RIM), size, RIM, blocks=True) for plane in (even, enlarged))
    guides = Windows(pad_border(advice.view(torch.int64), RIM // 2 - 1), size, RIM // 2 - 1, factor=2)
    for cells in undecided_cells(*cell_bounds(logits, *size)):
        blocks = head(picture.gather(cells), around.gather(cells), guides.gather(cells).view(guide.dtype))
        target.scatter(cells, pack_halves(blocks).transpose(2, 3).flatten(3).flatten(1, 2))
    return refined[:height, :width]


def upsample(picture: Tensor, level: Tensor, refined: Tensor, factor: int) -> Tensor:
    """Compute alpha H x W uint8 for a picture `factor` times as large as its refined `level` of h x w words.

    `refined` is what `refine_level` returns, h x w x 4. Its local linear models of alpha in colour are enlarged, and
    evaluated at the picture's own colours.
    """
    height, width = picture.shape
    picture = pad_to_multiple(picture, factor)
    size = picture.shape
    low, high = cell_bounds(refined[..., 0].float(), *size)
    alpha = ((low > 0).to(torch.uint8) * 255).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    target, colours = Windows(alpha[: size[0], : size[1]], size), Windows(picture, size)
    small, models = (Windows(pad_border(plane, 1), size, 1, factor) for plane in (level, pack_halves(refined)))
    rows, columns = (upsampling_matrix(min(CELL, side) // factor, factor, alpha.device) for side in size)
    for cells in undecided_cells(low, high):
        coarse = linear_models(models.gather(cells)[..., None].view(torch.half), small.gather(cells))  # [N, 4, h, w]
        target.scatter(cells, quantise(evaluate(rows @ coarse @ columns.T, colours.gather(cells))))
    return alpha[:height, :width].contiguous()


def linear_models(refined: Tensor, colours: Tensor) -> Tensor:
    """Express alpha as a linear function of colour around each pixel: a constant and three slopes, N x 4 x h x w.

    Takes logits and slopes, N x h x w x 4, and colours, N x h x w words. Slopes returned are for colours in bytes.
    """
    logits, *slopes = refined.float().unbind(-1)
    slopes = [slope * (CONTRAST / 255) for slope in slopes]
    constant = logits.sigmoid()
    for slope, colour in zip(slopes, channels(colours), strict=True):
        constant = torch.addcmul(constant, slope, colour, value=-1)
    return torch.stack((constant, *slopes), 1)


def evaluate(models: Tensor, colours: Tensor) -> Tensor:
    """Evaluate linear models N x 4 x h x w at colours N x h x w words: alpha N x h x w, about 0..1."""
    alpha, *slopes = models.unbind(1)
    for slope, colour in zip(slopes, channels(colours), strict=True):
        alpha = torch.addcmul(alpha, slope, colour)
    return alpha


def pack_halves(values: Tensor) -> Tensor:
    """View ... x 4 half as ... int64, so that four values are moved at once."""
    return values.view(torch.int64)[..., 0]


def upsampling_matrix(length: int, factor: int, device: torch.device) -> Tensor:
    """Build the bilinear (length * factor) x (length + 2) matrix: enlarges a line that has a neighbour at each end."""
    every = F.interpolate(torch.eye(length + 2, device=device)[None], scale_factor=factor, mode="linear")[0]
    return every[:, factor : factor * (length + 1)].T.contiguous()


def quantise(alpha: Tensor) -> Tensor:
    """Convert alpha in 0..1 to uint8, with values closer than SNAP to 0 or 1 snapped to them."""
    return ((alpha - SNAP) * (255 / (1 - 2 * SNAP))).round_().clamp_(0, 255).to(torch.uint8)


def undecided_cells(low: Tensor, high: Tensor) -> Iterator[Tensor]:
    """Yield the cells to refine in chunks of N x 2: row and column of each."""
    cells = ((low < DECIDED) & (high > -DECIDED)).nonzero()  # waits for the GPU, once for each level
    return (chunk for chunk in torch.split(cells, CHUNK if on_cpu(cells) else GPU_CHUNK) if len(chunk))


def cell_bounds(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Find the lowest and the highest of logits h x w in and near each cell of a height x width picture.

    Returns two planes of rows x columns of cells.
    """
    rows, columns = -(-height // CELL), -(-width // CELL)
    # The last cells may extend beyond the picture: the logits are continued, so that all cells cover equal parts.
    down, across = (
        round(side * (whole * CELL / part - 1))
        for side, whole, part in zip(logits.shape, (rows, columns), (height, width), strict=True)
    )
    both = F.pad(torch.stack((-logits, logits))[None], (0, across, 0, down), mode="replicate")
    parts = max_over_parts(max_over_parts(both, rows * PARTS, 2), columns * PARTS, 3)
    low, high = F.max_pool2d(parts, PARTS + 2, PARTS, 1)[0]
    return -low, high


def max_over_parts(x: Tensor, parts: int, dim: int) -> Tensor:
    """Divide one dimension of B x C x H x W into `parts` and take the maximum of each."""
    shape = list(x.shape)
    if shape[dim] % parts == 0:  # several times as fast
        return x.view(*shape[:dim], parts, shape[dim] // parts, *shape[dim + 1 :]).amax(dim + 1)
    shape[dim] = parts
    return F.adaptive_max_pool2d(x, shape[2:])


class Windows:
    """The windows of a plane H x W (x C), one for each cell of a picture of `size` (height, width).

    Windows of the last row and column are moved inwards. The plane may be `factor` times smaller than the picture, and
    extends beyond it by `rim` on each side, as its windows do. With `blocks`, a window is N x h/2 x w/2 x 2 x 2 instead
    of N x h x w, as the head takes it.
    """

    def __init__(self, plane: Tensor, size: Sequence[int], rim: int = 0, factor: int = 1, blocks: bool = False) -> None:
        self._size, self._factor = size, factor
        height, width = (min(CELL, side) // factor + 2 * rim for side in size)
        positions = (plane.shape[0] - height + 1, plane.shape[1] - width + 1)
        down, across, *rest = plane.stride()
        inner = ((height, down), (width, across), *zip(plane.shape[2:], rest, strict=True))
        if blocks:
            inner = ((height // 2, 2 * down), (width // 2, 2 * across), (2, down), (2, across))
        lengths, strides = zip(*inner, strict=True)
        self._all = plane.as_strided((*positions, *lengths), (down, across, *strides), plane.storage_offset())

    def gather(self, cells: Tensor) -> Tensor:
        """Copy the windows of N cells (N x 2: row and column)."""
        return self._all[self._positions(cells)]

    def scatter(self, cells: Tensor, values: Tensor) -> None:
        """Write the windows of N cells (N x 2: row and column)."""
        self._all[self._positions(cells)] = values

    def _positions(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = ((cells[:, i] * CELL).clamp(max=max(0, self._size[i] - CELL)) for i in (0, 1))
        return rows // self._factor, columns // self._factor


def pyramid(picture: Tensor, floor: int) -> list[Tensor]:
    """Halve H x W words until the longer side is at most `floor`. Smallest level first; the last is the picture."""
    levels = [picture]
    while max(levels[0].shape) > floor:
        levels.insert(0, halve(levels[0]))
    return levels


def halve(picture: Tensor) -> Tensor:
    """Average each 2 x 2 block of H x W words, byte by byte; an odd last row or column is repeated.

    Pairs of rows are rounded down and pairs of columns up, so that the picture becomes neither darker nor brighter.
    """
    even = pad_to_multiple(picture, 2)
    half = even.new_empty([side // 2 for side in even.shape])
    stripe = STRIPE if on_cpu(even) else GPU_STRIPE
    for rows, into in zip(torch.split(even, stripe), torch.split(half, stripe // 2), strict=True):
        upper, lower = rows[0::2], rows[1::2]
        both = (upper & lower).add_(half_difference(upper, lower))
        left, right = both[:, 0::2], both[:, 1::2]
        torch.sub(left | right, half_difference(left, right), out=into)
    return half


def half_difference(one: Tensor, other: Tensor) -> Tensor:
    """Halve the XOR of two planes of words, byte by byte, without borrowing from the neighbouring byte.

    The mean of two integers without overflow is `(a & b) + (a ^ b) / 2`, rounded down, or `(a | b) - (a ^ b) / 2`,
    rounded up.
    """
    return (one ^ other).bitwise_right_shift_(1).bitwise_and_(LOW_SEVEN_BITS)


def pad_to_multiple(plane: Tensor, step: int) -> Tensor:
    """Repeat the last row and column of H x W until both sides are multiples of `step`."""
    height, width = plane.shape
    down, across = -height % step, -width % step
    if across:
        plane = torch.cat((plane, plane[:, -1:].expand(-1, across)), 1)
    return torch.cat((plane, plane[-1:].expand(down, -1))) if down else plane


def pad_border(plane: Tensor, rim: int) -> Tensor:
    """Extend H x W (x C) by `rim` pixels on all sides, with its border repeated."""
    height, width, *rest = plane.shape
    padded = plane.new_empty((height + 2 * rim, width + 2 * rim, *rest))
    inner = padded[rim:-rim]
    inner[:, rim:-rim] = plane
    inner[:, :rim], inner[:, -rim:] = plane[:, :1], plane[:, -1:]
    padded[:rim], padded[-rim:] = inner[:1], inner[-1:]
    return padded


def on_cpu(values: Tensor) -> bool:
    """Whether a tensor is on a CPU, where pieces that fit into the cache are faster than everything at once."""
    return values.device.type == "cpu"
