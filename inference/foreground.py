"""The true colour of half-transparent pixels, so that a cut-out has no halo of its old background.

A pixel of the transition band shows `I = alpha * F + (1 - alpha) * B`; straight alpha needs F. The estimate is the
two-pass blur fusion of Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021, with its blurred fields at
reduced scale and its last step only where it matters: in the band.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.rgba import ALPHA_BYTE, half_transparent, words

FIELD_SIDE = 384
"""Longer side of the picture that the blurred fields are computed on."""
WIDE_STEP = 3
"""The wide pass looks at that picture this many times smaller again: nothing it finds is finer."""
WIDE, NARROW = 8, 2
"""Radii of the two passes, each in pixels of its own picture: the paper's 90 and 6, scaled."""
STRIPE, CHUNK = 1 << 22, 1 << 16
"""Pixels searched for the band at a time, which bounds the memory; those of the band worked on at a time, which keeps
what is known of them in the cache."""


def cut_out(picture: Tensor, alpha: Tensor) -> None:
    """Give a picture H x W x 4 uint8 its alpha H x W uint8, straight, in place; what its fourth channel was is nothing.

    Opaque and transparent pixels keep their colour to the bit, those between get the foreground's own. (Hidden colour
    costs bytes and leaks what was cut away: `encode` leaves it out.)
    """
    picture[..., 3] = alpha
    decontaminate(picture, alpha)


def decontaminate(picture: Tensor, alpha: Tensor) -> None:
    """Give the half-transparent pixels of an H x W x 4 picture the foreground's own colour, in place."""
    fields: Tensor | None = None
    flat = alpha.reshape(-1)
    for start in range(0, len(flat), STRIPE):
        band = half_transparent(flat[start : start + STRIPE]).add_(start)
        if len(band):
            fields = colour_fields(picture) if fields is None else fields  # before anything is painted
            paint(picture, band, fields)


def paint(picture: Tensor, band: Tensor, fields: Tensor) -> None:
    """Give the pixels at these flat indices their own colour, in place."""
    flat = words(picture).view(-1)
    for some in torch.split(band, CHUNK):
        mixed = flat.index_select(0, some)
        channels = as_float(torch.stack([(mixed >> shift).bitwise_and_(255) for shift in (0, 8, 16, 24)]))
        fore, back = sample(fields, some, picture.shape[:2]).T.chunk(2)
        red, green, blue = unmix(channels[:3], channels[3:], fore, back).mul_(255).round_().int()
        flat.scatter_(0, some, (mixed & ALPHA_BYTE) | red | green << 8 | blue << 16)


def as_float(values: Tensor) -> Tensor:
    """0..255 to 0..1."""
    return values.float().div_(255)


def colour_fields(picture: Tensor) -> Tensor:
    """Smooth guesses of foreground and background everywhere in an H x W x 4 picture: 1 x 6 x h x w, F's first."""
    height, width = picture.shape[:2]
    small = resize(picture.permute(2, 0, 1)[None], shrunk((height, width), FIELD_SIDE / max(height, width)))
    image, alpha = planes(small)
    fore, back = wide_fields(small)
    fore = mean_around(unmix(image, alpha, fore, back), alpha, image, NARROW)
    return torch.cat((fore, back), 1)  # back is smooth already: a second pass would leave it as it is


def wide_fields(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Both of 1 x 4 x h x w, from far around each pixel and without detail: 1 x 3 x h x w each."""
    size = (picture.shape[-2], picture.shape[-1])
    image, alpha = planes(resize(picture, shrunk(size, 1 / WIDE_STEP)))
    fields = (mean_around(image, weight, image, WIDE)[0] for weight in (alpha, 1 - alpha))
    # Enlarged as bytes of pixels, which costs a tenth.
    packed = ((field * 255).round_().byte().permute(1, 2, 0).contiguous() for field in fields)
    fore, back = (as_float(resize(field.permute(2, 0, 1)[None], size)) for field in packed)
    return fore, back


def planes(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Colour and alpha of 1 x 4 x h x w, each in 0..1 and planar."""
    all_four = as_float(picture).contiguous()
    return all_four[:, :3], all_four[:, 3:]


def shrunk(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """That size scaled, unless that enlarges it; no side is less than a pixel."""
    height, width = (max(1, round(side * min(1.0, scale))) for side in size)
    return height, width


def mean_around(colours: Tensor, alpha: Tensor, image: Tensor, radius: int) -> Tensor:
    """The mean of colours around every pixel, 1 x 3 x h x w; opaque pixels count most."""
    # The paper weighs by alpha. Its cube trusts mixed pixels less, which matters where the transition is wide.
    weights = alpha**3
    sums = box_sum(torch.cat((colours * weights, weights), 1), radius)
    # Where nothing counts within the radius, the picture's own colour is the best guess.
    return sums[:, :3].add_(image, alpha=1e-3).div_(sums[:, 3:] + 1e-3)


def unmix(image: Tensor, alpha: Tensor, fore: Tensor, back: Tensor) -> Tensor:
    """The foreground colour that explains the picture best, given both fields."""
    rest = (fore - back).mul_(alpha).add_(back)
    return torch.sub(image, rest, out=rest).mul_(alpha).add_(fore).clamp_(0, 1)


def sample(fields: Tensor, indices: Tensor, shape: torch.Size) -> Tensor:
    """The fields, bilinear, at flat pixel indices of a picture of this (height, width): N x C."""
    height, width = shape
    places = indices.double().add_(0.5).div_(width)  # a division of integers is slower
    rows = places.floor()
    grid = torch.empty((len(indices), 2), device=indices.device)
    grid[:, 0] = places.sub_(rows).mul_(2).sub_(1)
    grid[:, 1] = rows.mul_(2 / height).add_(1 / height - 1)
    return F.grid_sample(fields, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with antialiasing; uint8 stays uint8 where the device can do that (the CPU), which is far cheaper."""
    if tuple(x.shape[-2:]) == size:
        return x
    if x.dtype == torch.uint8 and x.device.type != "cpu":
        return F.interpolate(x.half(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)


def box_sum(x: Tensor, radius: int) -> Tensor:
    """Sums over (2 radius + 1) squares, zero outside: B x C x H x W."""
    return _window_sum(_window_sum(x, radius, 2), radius, 3)


def _window_sum(x: Tensor, radius: int, dim: int) -> Tensor:
    """Sums over a window along one dimension: one addition for each place in it, in place, for radii are small."""
    total, length = x.clone(), x.shape[dim]
    for step in range(1, min(radius, length - 1) + 1):
        rest = length - step
        total.narrow(dim, step, rest).add_(x.narrow(dim, 0, rest))
        total.narrow(dim, 0, rest).add_(x.narrow(dim, step, rest))
    return total
