"""Foreground colour estimation: removes the old background's colour from semi-transparent pixels.

A pixel of the transition band shows `I = alpha * F + (1 - alpha) * B`; a cut-out with straight alpha needs F, or it has
a halo. F is estimated by the two-pass blur fusion of Forte, "Approximate Fast Foreground Colour Estimation" (ICIP
2021). Two things are cheaper here than in the paper: the blurred colour fields are computed at a reduced size, and the
last step is done only for the pixels of the band.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inference.resampling import box_sum, resize, sample
from inference.rgba import ALPHA_MASK, as_float, semitransparent_indices, words

FIELD_SIDE = 384
"""Longer side in pixels of the reduced picture from which the colour fields are computed."""
WIDE_STEP = 3
"""The wide pass reduces that picture by this factor once more: its blur leaves no finer detail."""
WIDE, NARROW = 8, 2
"""Blur radii of the two passes, each in pixels of its own reduced picture: the paper's 90 and 6, scaled."""
STRIPE = 1 << 22
"""Pixels that are searched for the band at a time: bounds the memory."""
CHUNK = 1 << 16
"""Pixels of the band that are computed at a time: they stay in the cache."""


def cut_out(picture: Tensor, alpha: Tensor) -> None:
    """Turn a picture H x W x 4 uint8 into a cut-out with alpha H x W uint8 (straight), in place.

    The fourth channel is overwritten. Opaque and fully transparent pixels keep their colour bit for bit, pixels in
    between get the estimated foreground colour. `codec.encode` drops the colour of fully transparent pixels.
    """
    picture[..., 3] = alpha
    decontaminate(picture, alpha)


def decontaminate(picture: Tensor, alpha: Tensor) -> None:
    """Give the semi-transparent pixels of H x W x 4 uint8 their foreground colour, in place; alpha is H x W uint8."""
    fields: Tensor | None = None
    flat = alpha.reshape(-1)
    for start in range(0, len(flat), STRIPE):
        band = semitransparent_indices(flat[start : start + STRIPE]).add_(start)
        if len(band):
            fields = colour_fields(picture) if fields is None else fields  # before any pixel is overwritten
            decontaminate_band(picture, band, fields)


def decontaminate_band(picture: Tensor, band: Tensor, fields: Tensor) -> None:
    """Give the pixels at these flat indices their foreground colour, in place; `fields` as of `colour_fields`."""
    flat = words(picture).view(-1)
    for indices in torch.split(band, CHUNK):
        pixels = flat.index_select(0, indices)  # [N]
        rgba = as_float(torch.stack([(pixels >> shift).bitwise_and_(255) for shift in (0, 8, 16, 24)]))  # [4, N]
        fore, back = sample(fields, indices, picture.shape[:2]).T.chunk(2)  # [3, N] each
        red, green, blue = fuse(rgba[:3], rgba[3:], fore, back).mul_(255).round_().int()
        flat.scatter_(0, indices, (pixels & ALPHA_MASK) | red | green << 8 | blue << 16)


def colour_fields(picture: Tensor) -> Tensor:
    """Estimate smooth foreground and background colours everywhere in H x W x 4 uint8.

    Returns 1 x 6 x h x w in 0..1 at the reduced size: three channels of foreground, then three of background.
    """
    height, width = picture.shape[:2]
    small = resize(picture.permute(2, 0, 1)[None], shrink((height, width), FIELD_SIDE / max(height, width)))
    image, alpha = split_alpha(small)  # [1, 3, h, w], [1, 1, h, w]
    fore, back = wide_fields(small)
    fore = weighted_blur(fuse(image, alpha, fore, back), alpha, image, NARROW)
    return torch.cat((fore, back), 1)  # the background is smooth already: a second pass would not change it


def wide_fields(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Run the first, wide pass over 1 x 4 x h x w uint8: foreground and background, each 1 x 3 x h x w in 0..1."""
    size = (picture.shape[-2], picture.shape[-1])
    image, alpha = split_alpha(resize(picture, shrink(size, 1 / WIDE_STEP)))
    fields = (weighted_blur(image, weight, image, WIDE)[0] for weight in (alpha, 1 - alpha))
    # Enlarged as interleaved bytes, at a tenth of the cost of planar floats.
    packed = ((field * 255).round_().byte().permute(1, 2, 0).contiguous() for field in fields)
    fore, back = (as_float(resize(field.permute(2, 0, 1)[None], size)) for field in packed)
    return fore, back


def split_alpha(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Split 1 x 4 x h x w uint8 into colour 1 x 3 x h x w and alpha 1 x 1 x h x w, both in 0..1."""
    planes = as_float(picture).contiguous()
    return planes[:, :3], planes[:, 3:]


def shrink(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Multiply a (height, width) by `scale`, at most 1; no side becomes shorter than a pixel."""
    height, width = (max(1, round(side * min(1.0, scale))) for side in size)
    return height, width


def weighted_blur(colours: Tensor, alpha: Tensor, image: Tensor, radius: int) -> Tensor:
    """Average colours 1 x 3 x h x w around every pixel, weighted by the cube of alpha."""
    # The paper's weight is alpha. The cube trusts mixed pixels less, which matters where the transition is wide.
    weights = alpha**3
    sums = box_sum(torch.cat((colours * weights, weights), 1), radius)
    # Where nothing has any weight within the radius, the picture's own colour is the best guess.
    return sums[:, :3].add_(image, alpha=1e-3).div_(sums[:, 3:] + 1e-3)


def fuse(image: Tensor, alpha: Tensor, fore: Tensor, back: Tensor) -> Tensor:
    """Correct the foreground field so that it explains the image: F + alpha * (I - alpha * F - (1 - alpha) * B).

    This is the fusion step of the paper, clamped to 0..1. Any shapes that broadcast; nothing is changed in place.
    """
    residual = (fore - back).mul_(alpha).add_(back)
    return torch.sub(image, residual, out=residual).mul_(alpha).add_(fore).clamp_(0, 1)
