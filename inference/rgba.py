"""Colour and alpha as one word a pixel: made, and searched.

On the CPU numpy does it, which can read three bytes as an unaligned word of four, asks for huge pages, and keeps to
pieces that stay in the cache; on other devices torch does the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ALPHA_BYTE: Final = -1 << 24
"""Of a word, as int32, what is alpha."""
_BETWEEN: Final = 254
"""Alpha less 1 is smaller than this where it is neither 255 nor 0, which wraps."""
_ALL_OPAQUE: Final = 0xFFFFFFFFFFFFFFFF


def widen(pixels: Tensor) -> Tensor:
    """H x W x 3 uint8 to H x W x 4, contiguous; what the fourth byte is remains open."""
    if not _on_cpu(pixels):
        return F.pad(pixels, (0, 1))
    colours = np.ascontiguousarray(pixels.numpy())
    result = np.empty((*colours.shape[:2], 4), np.uint8)
    words = result.reshape(-1).view("<u4")
    words[:-1] = np.ndarray(words.size - 1, "<u4", colours, strides=(3,))
    result[-1, -1, :3] = colours[-1, -1]  # which has no fourth byte to be read
    return torch.from_numpy(result)


def words(rgba: Tensor) -> Tensor:
    """The same memory (contiguous) as one int32 a pixel, H x W, red lowest."""
    return rgba.view(torch.int32)[..., 0]


def channels(words: Tensor) -> list[Tensor]:
    """Red, green and blue, each 0..255 float, of words of any shape."""
    return [((words >> shift) & 255).float() for shift in (0, 8, 16)]


def half_transparent(alpha: Tensor) -> Tensor:
    """The flat indices, int64 and rising, at which alpha (H x W uint8) is neither 0 nor 255."""
    if not _on_cpu(alpha):
        return ((alpha - 1) < _BETWEEN).view(-1).nonzero()[:, 0]
    flat = np.ascontiguousarray(alpha.numpy()).reshape(-1)
    whole = flat.size // 8 * 8
    rest = np.flatnonzero(flat[whole:] - np.uint8(1) < _BETWEEN) + whole
    return torch.from_numpy(np.concatenate((_half_transparent(flat[:whole]), rest)))


def _half_transparent(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Indices within a multiple of eight: most eights are all 0 or all 255, and passed by as a whole."""
    eights = flat.view(np.uint64)
    mixed = np.flatnonzero((eights != 0) & (eights != _ALL_OPAQUE))
    places = np.flatnonzero(eights[mixed].view(np.uint8) - np.uint8(1) < _BETWEEN)
    indices: NDArray[np.int64] = (mixed * 8)[places >> 3] + (places & 7)
    return indices


def _on_cpu(values: Tensor) -> bool:
    return values.device.type == "cpu"
