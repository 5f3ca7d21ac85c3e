"""The true colour of half-transparent pixels, so that a cut-out has no halo of its old background.

A pixel of the transition band shows `I = alpha * F + (1 - alpha) * B`; straight alpha needs F. The estimate is the
two-pass blur fusion of Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021, with its blurred fields at
reduced scale and its last step only where it matters: in the band.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FIELD_SIDE = 768
"""Longer side of the picture that the blurred fields are computed on."""
WIDE, NARROW = 48, 4
"""Radii of the two passes in pixels of that size: the paper's 90 and 6, scaled."""
CHUNK = 1 << 20
"""Band pixels worked on at a time: bounds the memory whatever the matte looks like."""


def cut_out(pixels: Tensor, alpha: Tensor) -> Tensor:
    """H x W x 3 uint8 and alpha H x W float in 0..1 to H x W x 4 uint8 with straight alpha.

    Opaque pixels keep their colour to the bit, transparent ones are zero (hidden colour costs bytes and leaks what was
    cut away), those between get the foreground's own colour.
    """
    quantised = (alpha * 255).round_().to(torch.uint8)
    result = torch.empty((*alpha.shape, 4), dtype=torch.uint8, device=pixels.device)
    torch.mul(pixels, (quantised > 0)[..., None], out=result[..., :3])
    result[..., 3] = quantised
    band = ((quantised > 0) & (quantised < 255)).flatten().nonzero().squeeze(1)
    if len(band):
        fields = colour_fields(pixels, alpha)
        flat, colours, opacity = result.view(-1, 4), pixels.reshape(-1, 3), alpha.reshape(-1)
        for some in torch.split(band, CHUNK):
            own = colours[some].float() / 255
            true = unmix(own, opacity[some].float()[:, None], sample(fields, some, alpha.shape))
            flat[some, :3] = (true * 255).round_().to(torch.uint8)
    return result


def colour_fields(pixels: Tensor, alpha: Tensor) -> Tensor:
    """Smooth guesses of foreground and background everywhere: 1 x 6 x h x w float, F's channels first."""
    height, width = alpha.shape
    scale = min(1.0, FIELD_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = resize(pixels.permute(2, 0, 1)[None], size).float() / 255
    small = resize(alpha[None, None].float(), size)
    fore, back = fuse(image, image, image, small, WIDE)
    refined = unmix(image, small, torch.cat((fore, back), 1), dim=1)
    return torch.cat(fuse(image, refined, back, small, NARROW), 1)


def fuse(image: Tensor, fore: Tensor, back: Tensor, alpha: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The alpha-weighted means of foreground and background around every pixel (1 x 3 x h x w each)."""
    # The paper weighs by alpha. Its cube trusts mixed pixels less, which matters where the transition is wide.
    opaque, clear = alpha**3, (1 - alpha) ** 3
    sums = box_sum(torch.cat((fore * opaque, back * clear, opaque, clear), 1), radius)
    # Where a side has no pixel within the radius, the picture's own colour is the best guess.
    fore_mean = (sums[:, :3] + 1e-3 * image) / (sums[:, 6:7] + 1e-3)
    back_mean = (sums[:, 3:6] + 1e-3 * image) / (sums[:, 7:8] + 1e-3)
    return fore_mean, back_mean


def unmix(image: Tensor, alpha: Tensor, fields: Tensor, dim: int = 1) -> Tensor:
    """The foreground colour that explains the picture best, given both fields (stacked along `dim`)."""
    fore, back = fields.chunk(2, dim)
    return (fore + alpha * (image - alpha * fore - (1 - alpha) * back)).clamp_(0, 1)


def sample(fields: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """The fields, bilinear, at flat pixel indices of a picture of this (height, width): N x 6."""
    height, width = shape
    rows = torch.div(indices, width, rounding_mode="floor")
    columns = indices - rows * width
    grid = torch.stack(((columns * 2 + 1) / width - 1, (rows * 2 + 1) / height - 1), -1)
    values = F.grid_sample(fields, grid[None, None].float(), padding_mode="border", align_corners=False)
    return values[0, :, 0].T


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing; uint8 stays uint8 where the device can do that (the CPU), which is far cheaper."""
    if tuple(x.shape[-2:]) == size:
        return x
    if x.dtype == torch.uint8 and x.device.type != "cpu":
        return F.interpolate(x.half(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sums over (2 radius + 1) squares, zero outside: two cumulative sums, whatever the radius."""
    return _running_sum(_running_sum(x, radius, 2), radius, 3)


def _running_sum(x: Tensor, radius: int, dim: int) -> Tensor:
    """Sums over a window along one dimension: the difference of two cumulative sums."""
    length = x.shape[dim]
    total = F.pad(x.cumsum(dim), (1, 0) if dim == 3 else (0, 0, 1, 0))
    index = torch.arange(length, device=x.device)
    high = (index + radius + 1).clamp_(max=length)
    low = (index - radius).clamp_(min=0)
    return total.index_select(dim, high) - total.index_select(dim, low)
