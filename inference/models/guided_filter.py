"""Guided upsampling: brings a coarse matte to the picture's own size along the picture's edges.

For models without an edge head. This is the fast guided filter of He and Sun (2015, arXiv:1505.00996) with the colour
picture as its guide (He, Sun and Tang, "Guided Image Filtering", 2013, section 3.6): around each pixel of the reduced
picture, alpha is modelled as a linear function of colour. The coefficients, not alpha, are enlarged, and evaluated at
the colours of the full picture. Only pixels near an undecided part of the matte are computed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.resampling import resize, sample
from inference.rgba import as_float

RADIUS = 2
"""Of the neighbourhoods, in pixels of the matte. Larger ones blur thin parts, smaller ones leave steps."""
EPSILON = 1e-4
"""Regularisation, the paper's epsilon: variance of colour (in 0..1 squared) that counts as noise."""
DECIDED = 0.02
"""Where alpha is this close to 0 or 1 all around, it is only enlarged."""
CHUNK = 1 << 20
"""Pixels of the band that are computed at a time: bounds the memory."""


def guided_upsample(matte: Tensor, pixels: Tensor) -> Tensor:
    """Compute alpha H x W float for a picture H x W x 3 uint8 from a matte 1 x 1 x h x w in 0..1.

    A matte that is not smaller than the picture is only resized.
    """
    height, width = pixels.shape[:2]
    alpha = resize(matte.float(), (height, width))[0, 0].contiguous()
    if matte.shape[-2] >= height or matte.shape[-1] >= width:
        return alpha
    band = _band(matte.float(), height, width)
    if len(band):
        small = resize(pixels.permute(2, 0, 1)[None], (matte.shape[-2], matte.shape[-1]))
        planes = linear_coefficients(small, matte.float())
        flat, colours = alpha.view(-1), pixels.reshape(-1, 3)
        for indices in torch.split(band, CHUNK):
            coefficients = sample(planes, indices, alpha.shape)  # [N, 4]
            flat[indices] = (coefficients[:, :3] * as_float(colours[indices])).sum(1) + coefficients[:, 3]
    return alpha


def linear_coefficients(picture: Tensor, matte: Tensor) -> Tensor:
    """Fit alpha = a . colour + b around each pixel of a picture 1 x 3 x h x w (in 0..255): 1 x 4 x h x w, a then b."""
    image = as_float(picture)
    means, mean = _mean(image), _mean(matte)  # [1, 3, h, w], [1, 1, h, w]
    covariance = _mean(image * matte) - means * mean
    rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    variances = _mean(image[:, rows] * image[:, columns]) - means[:, rows] * means[:, columns]  # [1, 6, h, w]
    slopes = _solve(variances, covariance)
    return _mean(torch.cat((slopes, mean - (slopes * means).sum(1, keepdim=True)), 1))


def _solve(variances: Tensor, covariance: Tensor) -> Tensor:
    """Solve (variances + EPSILON * identity) a = covariance for every pixel, by Cramer's rule.

    Variances are the upper triangle of a symmetric matrix, B x 6 x h x w; the covariance and the result B x 3 x h x w.
    """
    rr, rg, rb, gg, gb, bb = variances.unbind(1)
    rr, gg, bb = rr + EPSILON, gg + EPSILON, bb + EPSILON
    adjugate = (gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg)
    second = (rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg)
    determinant = rr * adjugate[0] + rg * adjugate[1] + rb * adjugate[2]
    r, g, b = covariance.unbind(1)
    solution = (
        adjugate[0] * r + adjugate[1] * g + adjugate[2] * b,
        adjugate[1] * r + second[0] * g + second[1] * b,
        adjugate[2] * r + second[1] * g + second[2] * b,
    )
    return torch.stack(solution, 1) / determinant[:, None]


def _mean(x: Tensor) -> Tensor:
    """Average over the neighbourhood; at the border, over the part of it that is within the picture."""
    return F.avg_pool2d(x, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)


def _band(matte: Tensor, height: int, width: int) -> Tensor:
    """Find the flat indices of the pixels near which the matte is undecided."""
    low, high = -F.max_pool2d(-matte, 3, 1, 1), F.max_pool2d(matte, 3, 1, 1)
    undecided = ((low < 1 - DECIDED) & (high > DECIDED)).float()
    return F.interpolate(undecided, size=(height, width))[0, 0].flatten().nonzero().squeeze(1)
