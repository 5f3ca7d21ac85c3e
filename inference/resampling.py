"""Resizing and sampling of pixel tensors, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_REDUCTION = 64
"""A side is made this many times smaller by antialiasing, at most; see `prior_reduction`."""


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize B x C x H x W to `size` (height, width): bilinear, with antialiasing.

    uint8 stays uint8 on a CPU, where that costs far less, and becomes float16 on other devices. Other types stay.
    """
    if tuple(x.shape[-2:]) == size:
        return x
    if x.device.type != "cpu":  # torch implements it for uint8 only on CPUs
        return resize_floats(x, size)
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def resize_floats(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize B x C x H x W to `size` (height, width) as `resize` does, but in floats: uint8 becomes float16.

    On a CPU it becomes float32, since torch has no antialiasing for float16 there.
    """
    if not x.is_floating_point():
        x = x.float() if x.device.type == "cpu" else x.half()
    if tuple(x.shape[-2:]) == size:
        return x
    factors = [prior_reduction(*sides) for sides in zip(x.shape[-2:], size, strict=True)]
    if max(factors) > 1:
        x = F.avg_pool2d(x, factors, ceil_mode=True)
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def prior_reduction(side: int, into: int) -> int:
    """Return the power of two by which a side is averaged down before the rest is resized with antialiasing.

    CUDA's antialiasing keeps the weights of all pixels that it averages in 48 KiB of shared memory. Beyond a reduction
    of about 190 it refuses with "Too much shared memory required"; MOST_REDUCTION leaves room.
    """
    return 1 << ((side - 1) // (into * MOST_REDUCTION)).bit_length()


def resize_pixels(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize H x W x C uint8 to h x w x C uint8, contiguous."""
    if pixels.shape[:2] == size:
        return pixels
    resized = resize(pixels[None].movedim(-1, 1), size)  # 1 x C x h x w; as channels-last, it is not copied apart
    rounded = resized.round() if resized.is_floating_point() else resized
    return rounded.to(torch.uint8)[0].permute(1, 2, 0).contiguous()


def resize_all_pixels(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize B x H x W x C uint8 to B x h x w x C uint8, contiguous."""
    if pixels.shape[1:3] == size:
        return pixels
    resized = resize_floats(pixels.movedim(-1, 1), size)
    return resized.round().to(torch.uint8).movedim(1, -1).contiguous()


def to_canvas(pixels: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Scale H x W x 3 (or x 4, whose last channel is ignored) uint8 to 1 x 3 x h x w in 0..1, a model's input."""
    return resize(pixels.permute(2, 0, 1)[None], size)[:, :3].to(dtype) / 255


def to_canvases(pixels: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Scale B x H x W x 3 (or x 4, whose last channel is ignored) uint8 to B x 3 x h x w in 0..1."""
    return resize_floats(pixels[..., :3].movedim(-1, 1), size).to(dtype) / 255


def sample(planes: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """Read planes 1 x C x h x w (bilinear) at N flat pixel indices of a picture of this (height, width): N x C."""
    height, width = shape
    places = indices.double().add_(0.5).div_(width)  # row + fraction of the width; dividing integers is slower
    rows = places.floor()
    grid = torch.empty((len(indices), 2), device=indices.device)  # x and y in -1..1, as grid_sample takes them
    grid[:, 0] = places.sub_(rows).mul_(2).sub_(1)
    grid[:, 1] = rows.mul_(2 / height).add_(1 / height - 1)
    return F.grid_sample(planes, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sum B x C x H x W over squares of 2 * radius + 1 pixels; outside of the picture there is nothing to add."""
    return _window_sum(_window_sum(x, radius, 2), radius, 3)


def _window_sum(x: Tensor, radius: int, dim: int) -> Tensor:
    """Sum over a window along one dimension: one addition in place for each offset, since radii are small."""
    total, length = x.clone(), x.shape[dim]
    for step in range(1, min(radius, length - 1) + 1):
        rest = length - step
        total.narrow(dim, step, rest).add_(x.narrow(dim, 0, rest))
        total.narrow(dim, 0, rest).add_(x.narrow(dim, step, rest))
    return total
