"""`reference.cut_out`, on a CPU with compiled kernels.

The smooth colour fields are those of `reference`, which explains them and stays as the reference: tests compare them.
"""

from __future__ import annotations

from torch import Tensor

from inference.foreground import reference
from inference.foreground.reference import FIELD_SIDE, NARROW, WIDE, WIDE_STEP, shrink
from inference.kernels import Kernels, kernels_for
from inference.resampling import resize_pixels
from inference.rgba import words


def cut_out(picture: Tensor, alpha: Tensor) -> None:
    """Turn a picture H x W x 4 uint8 into a cut-out with alpha H x W uint8, in place; as `reference.cut_out`."""
    kernels = kernels_for(picture.device)
    if kernels is None:
        reference.cut_out(picture, alpha)
    else:
        cut_out_with(kernels, picture, alpha.contiguous())


def cut_out_with(kernels: Kernels, picture: Tensor, alpha: Tensor) -> None:
    """Do the same with compiled kernels; alpha must be contiguous."""
    if kernels.set_alpha(words(picture), alpha):
        kernels.decontaminate(words(picture), alpha, colour_fields(kernels, picture))


def colour_fields(kernels: Kernels, picture: Tensor) -> Tensor:
    """Estimate smooth colours of H x W x 4 uint8, as `reference.colour_fields`: h x w x 2 x 4 floats in 0..1.

    Foreground and background follow each other, three channels each; the last number of four is unused.
    """
    height, width = picture.shape[:2]
    small = resize_pixels(picture, shrink((height, width), FIELD_SIDE / max(height, width)))
    size = (small.shape[0], small.shape[1])
    wide = kernels.wide_fields(words(resize_pixels(small, shrink(size, 1 / WIDE_STEP))), WIDE)
    return kernels.narrow_fields(words(small), wide, NARROW)
