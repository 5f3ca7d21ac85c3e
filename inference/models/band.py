"""The edge head, applied where it matters: in the band in which the matte is undecided.

Of a catalogue picture a few percent are neither object nor background. The picture is cut into cells; those with an
undecided pixel in or near them are gathered as a batch of windows, each a cell with a rim as wide as the head sees,
and what comes back is what the head would have said of the whole picture. The others are all object or all background.
So cost and memory grow with the length of the outline, and the picture itself is never more than its bytes.

The head looks at levels of up to DETAIL pixels. From there alpha is lifted to the picture's own size: the head has said
how alpha depends on colour around each pixel, and the large picture's colours are put into that. See `cvunet.lift`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.cvunet import CONTRAST, RIM, EdgeHead
from inference.rgba import channels

CELL = 32
"""Side of a cell in pixels: small enough to follow an outline, large enough that its rim does not cost most."""
PARTS = 4
"""A cell also counts if a neighbour is undecided in the quarter next to it: the outline may move a little."""
CLEAN = 0.02
"""Alpha this near to 0 or 1 is taken for it: haze of a few per mille is never the object and costs bytes."""
DECIDED = 4.0
"""Logits beyond this, alpha nearer than CLEAN to 0 or 1, are not asked about any more."""
CHUNK = 64
"""Windows that are worked on at a time: few enough for a processor's cache; bounds the memory as well."""
STRIPE = 128
"""Rows of a picture that are halved at a time: they stay in the cache."""
CARD_CHUNK, CARD_STRIPE = 2048, 4096
"""The same on a card, where every piece costs its launches: a level in one go, in some hundred megabytes."""
DETAIL = 1024
"""Longer side of the largest level that the head looks at, and"""
MOST_LIFTS = 3
"""how many levels there may be beyond it: of larger pictures, the head looks at larger levels too."""
SIGNS = -0x7F7F7F80
"""Makes signed bytes of a word's four: 16-bit floats hold those with less loss."""
SEVEN_BITS = 0x7F7F7F7F
"""Of each byte of a word."""


class WindowHead:
    """The edge head over windows of pixels as they lie in memory: the same function with its weights in that order.

    Takes the head with its batch norms folded, on the device and in the type that it is to run in.
    """

    def __init__(self, edge: EdgeHead) -> None:
        see, think, correct = edge.see.conv, edge.think.conv, edge.correct
        assert see.bias is not None and think.bias is not None and correct.bias is not None, "norms are folded"
        # A block's pixels follow each other with all their channels, where pixel-unshuffle has each channel apart.
        order = torch.arange(16, device=correct.weight.device).view(4, 2, 2).permute(1, 2, 0).flatten()
        # And normalising signed bytes, a factor and a constant for each colour, is part of the first convolution.
        scale, shift = (
            torch.tensor([value] * 3 + [logit], device=order.device).repeat(4)[:, None, None]
            for value, logit in ((CONTRAST / 255, 1.0), (CONTRAST * (128 / 255 - 0.5), 0.0))
        )
        weight, bias = see.weight.float()[:, order], see.bias.float()
        self._see = as_weights(weight * scale, bias + (weight * shift).sum((1, 2, 3)), see.weight)
        self._think = as_weights(think.weight, think.bias, see.weight)
        self._correct = as_weights(correct.weight[order], correct.bias[order], see.weight)

    def __call__(self, words: Tensor, logits: Tensor, guide: Tensor) -> Tensor:
        """Words and logits N x h x w x 2 x 2, guide N x h x w x C, see `EdgeHead.better`; N x h x w x 2 x 2 x 4."""
        x = (words ^ SIGNS).view(torch.int8).view(*words.shape, 4).to(guide.dtype)
        x[..., 3] = logits
        y = F.conv2d(x.flatten(3).movedim(-1, 1), *self._see)
        y = F.conv2d(y.add_(guide.movedim(-1, 1)).relu_(), *self._think)
        y = F.conv2d(y.relu_(), *self._correct).movedim(1, -1)
        found = y.reshape(*y.shape[:-1], 2, 2, 4).float()
        rim = RIM // 2
        found[..., 0] += logits[:, rim:-rim, rim:-rim]
        return found.half()


def as_weights(weight: Tensor, bias: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """As convolutions over channels-last pictures want them."""
    return weight.to(like.dtype, memory_format=torch.channels_last), bias.to(like.dtype)


def refine(picture: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """Alpha H x W uint8 for a picture of H x W words, see `rgba`.

    `logits`, 1 x 1 x h x w, and `guide`, 1 x C x h' x w', are of any coarser size.
    """
    levels = pyramid(picture, floor=max(logits.shape[-2:]))
    seen = detailed(levels)
    found = logits[0, 0, :, :, None]
    for level in levels[:seen]:
        found = look(level, found[..., 0].float(), guide, head)
    return paint(picture, levels[seen - 1], found, 1 << len(levels) - seen)


def detailed(levels: list[Tensor]) -> int:
    """How many of the levels the head looks at: those within DETAIL, and enough to be near the last one."""
    return max(1, sum(max(level.shape) <= DETAIL for level in levels), len(levels) - MOST_LIFTS)


def look(level: Tensor, logits: Tensor, guide: Tensor, head: WindowHead) -> Tensor:
    """What the head says of a level of H x W words, from logits h x w: H x W x 4 half, logits and slopes.

    Where nothing is undecided, logits are only enlarged, and slopes are 0.
    """
    height, width = level.shape
    even = filled(level, 2)
    size = even.shape
    near = F.interpolate(logits[None, None], size=size, mode="bilinear")[0, 0]
    found = F.pad(near[..., None].half(), (0, 3))
    advice = F.interpolate(guide, size=[side // 2 for side in size], mode="bilinear")[0].movedim(0, -1).contiguous()
    target = Windows(packed(found), size)
    picture, around = (Windows(widened(plane, RIM), size, RIM, blocks=True) for plane in (even, near))
    guides = Windows(widened(advice.view(torch.int64), RIM // 2 - 1), size, RIM // 2 - 1, factor=2)
    for cells in undecided(*bounds(logits, *size)):
        blocks = packed(head(picture.at(cells), around.at(cells), guides.at(cells).view(guide.dtype)))
        target.put(cells, blocks.transpose(2, 3).flatten(3).flatten(1, 2))
    return found[:height, :width]


def paint(picture: Tensor, level: Tensor, found: Tensor, factor: int) -> Tensor:
    """Alpha H x W uint8 for a picture `factor` times as large as the level of which `found`, h x w x 4, is known."""
    height, width = picture.shape
    picture = filled(picture, factor)
    size = picture.shape
    low, high = bounds(found[..., 0].float(), *size)
    alpha = ((low > 0).to(torch.uint8) * 255).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    target, colours = Windows(alpha[: size[0], : size[1]], size), Windows(picture, size)
    small, lines = (Windows(widened(plane, 1), size, 1, factor) for plane in (level, packed(found)))
    rows, columns = (enlarging(min(CELL, side) // factor, factor, alpha.device) for side in size)
    for cells in undecided(low, high):
        line = lines_of(lines.at(cells)[..., None].view(torch.half), small.at(cells))
        target.put(cells, quantise(valued(rows @ line @ columns.T, colours.at(cells))))
    return alpha[:height, :width].contiguous()


def lines_of(found: Tensor, colours: Tensor) -> Tensor:
    """Alpha as a function of colour in bytes, a constant and three slopes, N x 4 x h x w.

    From logits and slopes, N x h x w x 4, and the colours, N x h x w words.
    """
    logits, *slopes = found.float().unbind(-1)
    slopes = [slope * (CONTRAST / 255) for slope in slopes]
    constant = logits.sigmoid()
    for slope, colour in zip(slopes, channels(colours), strict=True):
        constant = torch.addcmul(constant, slope, colour, value=-1)
    return torch.stack((constant, *slopes), 1)


def valued(lines: Tensor, colours: Tensor) -> Tensor:
    """The functions' values, N x h x w, for colours N x h x w words."""
    matte, *slopes = lines.unbind(1)
    for slope, colour in zip(slopes, channels(colours), strict=True):
        matte = torch.addcmul(matte, slope, colour)
    return matte


def packed(values: Tensor) -> Tensor:
    """Four halves as one number, which is moved at once."""
    return values.view(torch.int64)[..., 0]


def enlarging(length: int, factor: int, device: torch.device) -> Tensor:
    """The matrix that enlarges (bilinear) a line of this length that has a neighbour on both ends, without these."""
    every = F.interpolate(torch.eye(length + 2, device=device)[None], scale_factor=factor, mode="linear")[0]
    return every[:, factor : factor * (length + 1)].T.contiguous()


def quantise(alpha: Tensor) -> Tensor:
    """As uint8."""
    return ((alpha - CLEAN) * (255 / (1 - 2 * CLEAN))).round_().clamp_(0, 255).to(torch.uint8)


def undecided(low: Tensor, high: Tensor) -> Iterator[Tensor]:
    """The cells that are to be looked at, some at a time: N x 2, row and column of each."""
    cells = ((low < DECIDED) & (high > -DECIDED)).nonzero()  # the one thing of a level that a card is waited for
    return (some for some in torch.split(cells, CHUNK if on_cpu(cells) else CARD_CHUNK) if len(some))


def bounds(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest logits in and near each cell of a picture of this size; rows x columns each."""
    rows, columns = -(-height // CELL), -(-width // CELL)
    # The last cells are only begun: the coarser plane is continued, so that all cells take equal parts of it.
    down, across = (
        round(side * (whole * CELL / part - 1))
        for side, whole, part in zip(logits.shape, (rows, columns), (height, width), strict=True)
    )
    both = F.pad(torch.stack((-logits, logits))[None], (0, across, 0, down), mode="replicate")
    parts = highest(highest(both, rows * PARTS, 2), columns * PARTS, 3)
    low, high = F.max_pool2d(parts, PARTS + 2, PARTS, 1)[0]
    return -low, high


def highest(x: Tensor, parts: int, dim: int) -> Tensor:
    """The maximum of each of so many parts of one dimension of B x C x H x W."""
    shape = list(x.shape)
    if shape[dim] % parts == 0:  # several times as fast
        return x.view(*shape[:dim], parts, shape[dim] // parts, *shape[dim + 1 :]).amax(dim + 1)
    shape[dim] = parts
    return F.adaptive_max_pool2d(x, shape[2:])


class Windows:
    """Squares of a plane H x W (x C), one for each cell of a picture of `size`; the last ones are moved inwards.

    The plane may be `factor` times smaller than the picture, and wider than that by `rim` on each side, as its windows
    then are. With `blocks`, windows are in blocks of 2 x 2: N x h/2 x w/2 x 2 x 2, as the head takes them.
    """

    def __init__(self, plane: Tensor, size: Sequence[int], rim: int = 0, factor: int = 1, blocks: bool = False) -> None:
        self._size, self._factor = size, factor
        high, wide = (min(CELL, side) // factor + 2 * rim for side in size)
        places = (plane.shape[0] - high + 1, plane.shape[1] - wide + 1)
        down, across, *rest = plane.stride()
        inner = ((high, down), (wide, across), *zip(plane.shape[2:], rest, strict=True))
        if blocks:
            inner = ((high // 2, 2 * down), (wide // 2, 2 * across), (2, down), (2, across))
        lengths, strides = zip(*inner, strict=True)
        self._all = plane.as_strided((*places, *lengths), (down, across, *strides), plane.storage_offset())

    def at(self, cells: Tensor) -> Tensor:
        """A copy of N windows."""
        return self._all[self._where(cells)]

    def put(self, cells: Tensor, values: Tensor) -> None:
        """Write N windows."""
        self._all[self._where(cells)] = values

    def _where(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = ((cells[:, i] * CELL).clamp(max=max(0, self._size[i] - CELL)) for i in (0, 1))
        return rows // self._factor, columns // self._factor


def pyramid(picture: Tensor, floor: int) -> list[Tensor]:
    """The picture halved until its longer side is at most `floor`, smallest first; the last is the picture itself."""
    levels = [picture]
    while max(levels[0].shape) > floor:
        levels.insert(0, halve(levels[0]))
    return levels


def halve(picture: Tensor) -> Tensor:
    """The mean of each 2 x 2 block of H x W words; an odd last row or column is repeated.

    Pairs of rows are rounded down, pairs of columns up, so that the picture becomes neither darker nor brighter.
    """
    even = filled(picture, 2)
    half = even.new_empty([side // 2 for side in even.shape])
    stripe = STRIPE if on_cpu(even) else CARD_STRIPE
    for rows, into in zip(torch.split(even, stripe), torch.split(half, stripe // 2), strict=True):
        upper, lower = rows[0::2], rows[1::2]
        both = (upper & lower).add_(half_difference(upper, lower))
        left, right = both[:, 0::2], both[:, 1::2]
        torch.sub(left | right, half_difference(left, right), out=into)
    return half


def half_difference(one: Tensor, other: Tensor) -> Tensor:
    """What differs in the bits of each byte, halved: byte for byte, without borrowing from the next."""
    return (one ^ other).bitwise_right_shift_(1).bitwise_and_(SEVEN_BITS)


def filled(plane: Tensor, step: int) -> Tensor:
    """H x W with the last row and column repeated until both sides are multiples of `step`."""
    height, width = plane.shape
    down, across = -height % step, -width % step
    if across:
        plane = torch.cat((plane, plane[:, -1:].expand(-1, across)), 1)
    return torch.cat((plane, plane[-1:].expand(down, -1))) if down else plane


def widened(plane: Tensor, rim: int) -> Tensor:
    """H x W (x C) with its border repeated on all sides."""
    height, width, *rest = plane.shape
    wide = plane.new_empty((height + 2 * rim, width + 2 * rim, *rest))
    inner = wide[rim:-rim]
    inner[:, rim:-rim] = plane
    inner[:, :rim], inner[:, -rim:] = plane[:, :1], plane[:, -1:]
    wide[:rim], wide[-rim:] = inner[:1], inner[-1:]
    return wide


def on_cpu(values: Tensor) -> bool:
    """Whether pieces that fit into a cache are quicker than all at once."""
    return values.device.type == "cpu"
