"""What the network is trained to get right: every pixel, and the transition band most of all."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BAND_WEIGHT = 4.0
"""How much more a pixel of the transition band counts: a few percent of the pixels decide how a matte looks."""


def matting_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """Weighted cross-entropy and L1 plus a Laplacian-pyramid L1, for B x 1 x H x W logits and alpha in 0..1.

    The Laplacian loss is that of Hou and Liu, "Context-Aware Image Matting", 2019.
    """
    matte = torch.sigmoid(logits)
    weight = 1.0 + BAND_WEIGHT * transition_band(alpha)
    weight = weight / weight.mean()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, alpha, weight)
    return cross_entropy + 2.0 * (weight * (matte - alpha).abs()).mean() + laplacian_loss(matte, alpha)


def transition_band(alpha: Tensor, radius: int = 3) -> Tensor:
    """1 where alpha changes within `radius` pixels, else 0."""
    return (widest(alpha, radius) + widest(-alpha, radius) > 0.02).to(alpha.dtype)


def widest(x: Tensor, radius: int) -> Tensor:
    """The maximum over squares of 2 radius + 1, one dimension after the other."""
    size = 2 * radius + 1
    return F.max_pool2d(F.max_pool2d(x, (size, 1), 1, (radius, 0)), (1, size), 1, (0, radius))


def laplacian_loss(matte: Tensor, alpha: Tensor, levels: int = 5) -> Tensor:
    """L1 between the Laplacian pyramids, each level weighted by the area that its pixels stand for."""
    error, total = matte - alpha, matte.new_zeros(())  # the pyramid is linear, so the difference's is enough
    for level in range(levels):
        if min(error.shape[-2:]) < 2:
            break
        smaller = F.avg_pool2d(error, 2, ceil_mode=True, count_include_pad=False)
        back = F.interpolate(smaller, size=error.shape[-2:], mode="bilinear", align_corners=False)
        total = total + (error - back).abs().mean() * 2.0**level
        error = smaller
    return total


def network_loss(coarse: Tensor, levels: list[Tensor], alpha: Tensor) -> Tensor:
    """The loss of every output against alpha B x 1 x H x W: the last level counts whole, the earlier ones half."""
    outputs = [coarse, *levels]
    weights = [0.5] * (len(outputs) - 1) + [1.0]
    return torch.stack(
        [w * matting_loss(out, shrink(alpha, out)) for w, out in zip(weights, outputs, strict=True)]
    ).sum()


def shrink(alpha: Tensor, like: Tensor) -> Tensor:
    """Area-averaged to the height and width of `like`: coverage stays coverage."""
    return alpha if alpha.shape[-2:] == like.shape[-2:] else F.interpolate(alpha, size=like.shape[-2:], mode="area")
