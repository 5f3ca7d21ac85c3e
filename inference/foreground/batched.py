"""`reference` for all pictures of a batch at once: for a GPU, where each operation is a kernel launch.

The functions mean what those of the same name in `reference` mean, for pictures of one size with the batch first.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.foreground.reference import FIELD_SIDE, NARROW, WIDE, WIDE_STEP, fuse, shrink
from inference.resampling import resize_floats
from inference.rgba import as_float

STRIPE = 1 << 24
"""Pixels that are searched for the band at a time, eight of 1920x1080: bounds the memory. The host waits for each."""
CHUNK = 1 << 20
"""Pixels of the band that are computed at a time: bounds the memory to some hundred megabytes."""
KEPT_TABLES = 128
"""Tables that are kept, of some kilobytes each: a size of pictures needs two, and one more for each size of batch."""


def cut_out(pictures: Tensor, alpha: Tensor) -> None:
    """Turn pictures B x H x W x 4 uint8 into cut-outs with alpha B x H x W uint8, in place (`reference`)."""
    pictures[..., 3] = alpha
    decontaminate(pictures, alpha)


def decontaminate(pictures: Tensor, alpha: Tensor) -> None:
    """Give the semi-transparent pixels of B x H x W x 4 uint8 their foreground colour, in place."""
    fields: Tensor | None = None
    flat = alpha.reshape(-1)
    for start in range(0, len(flat), STRIPE):
        band = ((flat[start : start + STRIPE] - 1) < 254).nonzero()[:, 0]  # waits for the GPU
        if len(band):
            fields = colour_fields(pictures) if fields is None else fields  # before any pixel is overwritten
            decontaminate_band(pictures, band.add_(start) if start else band, fields)


def decontaminate_band(pictures: Tensor, band: Tensor, fields: Tensor) -> None:
    """Give the pixels at these flat indices their foreground colour, in place; `fields` as of `colour_fields`."""
    count, height, width = pictures.shape[:3]
    across = columns(width, band.device)
    down = rows(count, height, fields.shape[2], band.device)
    below = fields.movedim(0, 1).flatten(1, 2)[None]  # [1, 6, B * h, w]: one picture below the other
    flat = pictures.view(-1, 4)
    for indices in torch.split(band, CHUNK):
        row = indices // width
        grid = torch.stack((across[torch.sub(indices, row, alpha=width)], down[row]), 1)
        sampled = F.grid_sample(below, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0]
        fore, back = sampled.chunk(2)  # [3, N] each
        rgba = as_float(flat[indices]).T  # [4, N]
        flat[:, :3][indices] = fuse(rgba[:3], rgba[3:], fore, back).mul_(255).round_().to(torch.uint8).T


@lru_cache(maxsize=KEPT_TABLES)
def columns(width: int, device: torch.device) -> Tensor:
    """List where each of `width` columns is, as `grid_sample` takes it: -1..1."""
    return ((torch.arange(width) + 0.5) * (2 / width) - 1).to(device)


@lru_cache(maxsize=KEPT_TABLES)
def rows(count: int, height: int, small: int, device: torch.device) -> Tensor:
    """List where each row of `count` pictures is in fields of `small` rows that lie one below the other: -1..1.

    Rows are clamped to the first and the last row of their own field, so that none is mixed with its neighbour's.
    """
    within = ((torch.arange(height).double() + 0.5) * (small / height) - 0.5).clamp(0, small - 1)
    every = within + torch.arange(count)[:, None] * small
    return ((every + 0.5) * (2 / (count * small)) - 1).float().flatten().to(device)


def colour_fields(pictures: Tensor) -> Tensor:
    """Estimate smooth foreground and background colours everywhere in B x H x W x 4 uint8: B x 6 x h x w in 0..1."""
    height, width = pictures.shape[1:3]
    size = shrink((height, width), FIELD_SIDE / max(height, width))
    small = as_float(resize_floats(pictures.movedim(-1, 1), size)).contiguous()  # [B, 4, h, w]
    image, alpha = small[:, :3], small[:, 3:]
    fore, back = wide_fields(small)
    fore = weighted_blur(fuse(image, alpha, fore, back), alpha, image, NARROW)
    return torch.cat((fore, back), 1)


def wide_fields(small: Tensor) -> tuple[Tensor, Tensor]:
    """Run the first, wide pass over B x 4 x h x w in 0..1: foreground and background, each B x 3 x h x w in 0..1."""
    size = (small.shape[-2], small.shape[-1])
    tiny = resize_floats(small, shrink(size, 1 / WIDE_STEP))
    image = tiny[:, :3].repeat(2, 1, 1, 1)  # [2 * B, 3, h, w]
    weights = torch.cat((tiny[:, 3:], 1 - tiny[:, 3:]))
    fields = weighted_blur(image, weights, image, WIDE)
    fore, back = resize_floats(fields, size).chunk(2)
    return fore, back


def weighted_blur(colours: Tensor, alpha: Tensor, image: Tensor, radius: int) -> Tensor:
    """Average colours B x 3 x h x w around every pixel, weighted by the cube of alpha (`reference`)."""
    side = 2 * radius + 1
    weights = alpha**3
    means = F.avg_pool2d(torch.cat((colours * weights, weights), 1), side, 1, radius)  # sums, by the square's area
    little = 1e-3 / side**2
    return means[:, :3].add_(image, alpha=little).div_(means[:, 3:] + little)
