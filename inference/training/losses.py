"""The losses of the training: every pixel counts, and those of the transition band most."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.cvunet import Level, lift
from inference.neighbourhoods import widest

BAND_WEIGHT = 4.0
"""How much more a pixel of the transition band counts: a few percent of the pixels decide how a matte looks."""
THIN_WEIGHT = 4.0
"""How much more again a pixel of a thin part or gap counts in the coarse matte: of wires, legs, spokes, handles."""


def matting_loss(logits: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy and L1 plus a Laplacian-pyramid L1, for B x 1 x H x W logits and alpha in 0..1.

    The Laplacian loss is that of Hou and Liu, "Context-Aware Image Matting", 2019.
    """
    matte = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, alpha, weight)
    return cross_entropy + 2.0 * (weight * (matte - alpha).abs()).mean() + laplacian_loss(matte, alpha)


def transition_band(alpha: Tensor, radius: int = 3) -> Tensor:
    """1 where alpha changes within `radius` pixels, else 0."""
    return (widest(alpha, radius) + widest(-alpha, radius) > 0.02).to(alpha.dtype)


def thin_parts(alpha: Tensor, radius: int = 3) -> Tensor:
    """1 where an object, or a gap in one, is narrower than 2 radius + 1 pixels, else 0."""
    opened = widest(-widest(-alpha, radius), radius)
    closed = -widest(-widest(alpha, radius), radius)
    return ((alpha - opened > 0.3) | (closed - alpha > 0.3)).to(alpha.dtype)


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


def coarse_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """The loss of the U-Net's matte against alpha B x 1 x H x W, where every object counts alike, small or large."""
    small = shrink(alpha, logits)
    weight = scaled(1.0 + BAND_WEIGHT * transition_band(small) + THIN_WEIGHT * thin_parts(small))
    return matting_loss(logits, small, weight) + overlap_loss(torch.sigmoid(logits), small)


def overlap_loss(matte: Tensor, alpha: Tensor) -> Tensor:
    """1 - IoU of B x 1 x H x W mattes, each picture's own; the union of two empty ones is one pixel."""
    both = torch.minimum(matte, alpha).sum((1, 2, 3)) + 1
    either = torch.maximum(matte, alpha).sum((1, 2, 3)) + 1
    return (1 - both / either).mean()


def edge_loss(levels: list[Level], alpha: Tensor) -> Tensor:
    """The loss of every level of the edge head against alpha B x 1 x H x W.

    The last level counts whole; earlier ones, and what is lifted from these to the last one, half.
    """
    picture, weight = levels[-1].picture, band_weight(alpha)
    total = matting_loss(levels[-1].logits, alpha, weight)
    for level in levels[:-1]:
        small = shrink(alpha, level.logits)
        total = total + 0.5 * matting_loss(level.logits, small, band_weight(small))
        total = total + 0.5 * lifting_loss(lift(level, picture), alpha, weight)
    return total


def lifting_loss(matte: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    """Weighted L1 and the Laplacian-pyramid L1 for a matte that is cut to 0..1 afterwards: beyond is as good as at."""
    matte = torch.where(alpha >= 1, matte.clamp(max=1), torch.where(alpha <= 0, matte.clamp(min=0), matte))
    return 2.0 * (weight * (matte - alpha).abs()).mean() + laplacian_loss(matte, alpha)


def band_weight(alpha: Tensor) -> Tensor:
    """The weight of every pixel, with a mean of 1."""
    return scaled(1.0 + BAND_WEIGHT * transition_band(alpha))


def scaled(weight: Tensor) -> Tensor:
    """The same weights with a mean of 1."""
    return weight / weight.mean()


def shrink(alpha: Tensor, like: Tensor) -> Tensor:
    """Reduce to the height and width of `like` by area averaging, so that alpha stays the covered share of a pixel."""
    return alpha if alpha.shape[-2:] == like.shape[-2:] else F.interpolate(alpha, size=like.shape[-2:], mode="area")
