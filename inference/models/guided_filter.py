"""A coarse matte brought to the picture's own size, along the picture's edges, for models without an edge head.

The fast guided filter of He and Sun (2015, arXiv:1505.00996) with the picture in colour as its guide: around each pixel
of the small picture, alpha is taken for a linear function of the colour; the functions, not the alpha, are enlarged,
and asked for the colours of the full picture. Only in the band where the matte is undecided: elsewhere it is as it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.foreground import as_float, resize, sample

RADIUS = 2
"""Of the neighbourhoods, in pixels of the matte. Larger ones smear thin parts, smaller ones leave steps."""
EPSILON = 1e-4
"""Variance of colour, in 0..1 squared, that counts as noise."""
DECIDED = 0.02
"""Alpha this near to 0 or 1 all around is not asked about."""
CHUNK = 1 << 20
"""Pixels of the band that are worked on at a time: bounds the memory."""


def enlarge(matte: Tensor, pixels: Tensor) -> Tensor:
    """Alpha H x W float for the picture H x W x 3 uint8, from a matte 1 x 1 x h x w in 0..1."""
    height, width = pixels.shape[:2]
    alpha = resize(matte.float(), (height, width))[0, 0].contiguous()
    if matte.shape[-2] >= height or matte.shape[-1] >= width:
        return alpha
    band = _band(matte.float(), height, width)
    if len(band):
        small = resize(pixels.permute(2, 0, 1)[None], (matte.shape[-2], matte.shape[-1]))
        lines = linear_functions(small, matte.float())
        flat, colours = alpha.view(-1), pixels.reshape(-1, 3)
        for some in torch.split(band, CHUNK):
            line = sample(lines, some, alpha.shape)
            flat[some] = (line[:, :3] * as_float(colours[some])).sum(1) + line[:, 3]
    return alpha


def linear_functions(picture: Tensor, matte: Tensor) -> Tensor:
    """Three slopes and a constant for each pixel, 1 x 4 x h x w, from a picture 1 x 3 x h x w in bytes."""
    image = as_float(picture)
    means, mean = _mean(image), _mean(matte)
    shared = _mean(image * matte) - means * mean
    rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    products = _mean(image[:, rows] * image[:, columns]) - means[:, rows] * means[:, columns]
    slopes = _solved(products, shared)
    return _mean(torch.cat((slopes, mean - (slopes * means).sum(1, keepdim=True)), 1))


def _solved(products: Tensor, shared: Tensor) -> Tensor:
    """(covariance + EPSILON) x = shared for every pixel by Cramer's rule; the matrix as its upper triangle."""
    rr, rg, rb, gg, gb, bb = products.unbind(1)
    rr, gg, bb = rr + EPSILON, gg + EPSILON, bb + EPSILON
    adjugate = (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg)
    second = (rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg)
    determinant = rr * adjugate[0] + rg * adjugate[1] + rb * adjugate[2]
    r, g, b = shared.unbind(1)
    solution = (
        adjugate[0] * r + adjugate[1] * g + adjugate[2] * b,
        adjugate[1] * r + second[0] * g + second[1] * b,
        adjugate[2] * r + second[1] * g + second[2] * b,
    )
    return torch.stack(solution, 1) / determinant[:, None]


def _mean(x: Tensor) -> Tensor:
    """Over the neighbourhood; at the border, over what there is of it."""
    return F.avg_pool2d(x, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)


def _band(matte: Tensor, height: int, width: int) -> Tensor:
    """Flat indices of the pixels near to which the matte is undecided."""
    low, high = -F.max_pool2d(-matte, 3, 1, 1), F.max_pool2d(matte, 3, 1, 1)
    undecided = ((low < 1 - DECIDED) & (high > DECIDED)).float()
    return F.interpolate(undecided, size=(height, width))[0, 0].flatten().nonzero().squeeze(1)
