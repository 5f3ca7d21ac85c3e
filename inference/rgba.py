"""Pixels of four bytes as 32-bit words, and conversions between bytes and floats.

On a CPU numpy does the work: it reads three bytes as an unaligned word, asks for huge pages, and its pieces stay in the
cache. On other devices torch does the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ALPHA_MASK: Final = -1 << 24
"""The bits of an int32 word that hold alpha."""
_SEMITRANSPARENT: Final = 254
"""`alpha - 1`, as uint8, is smaller than this for all values but 0 (which wraps around) and 255."""
_EIGHT_OPAQUE: Final = 0xFFFFFFFFFFFFFFFF


def as_float(values: Tensor) -> Tensor:
    """Convert 0..255 to 0..1."""
    return values.float().div_(255)


def as_bytes(values: Tensor) -> Tensor:
    """Convert 0..1 to uint8; values beyond are clamped."""
    return (values.float() * 255).round_().clamp_(0, 255).to(torch.uint8)


def rgb_to_rgbx(pixels: Tensor) -> Tensor:
    """Convert H x W x 3 uint8 to H x W x 4, contiguous; the value of the fourth byte is undefined."""
    if not _on_cpu(pixels):
        return F.pad(pixels, (0, 1))
    colours = np.ascontiguousarray(pixels.numpy())
    result = np.empty((*colours.shape[:2], 4), np.uint8)
    words = result.reshape(-1).view("<u4")
    words[:-1] = np.ndarray(words.size - 1, "<u4", colours, strides=(3,))
    result[-1, -1, :3] = colours[-1, -1]  # there is no fourth byte behind the last pixel to read
    return torch.from_numpy(result)


def words(rgba: Tensor) -> Tensor:
    """View contiguous ... x 4 uint8 as ... int32, one word a pixel, red in the lowest byte. Shares the memory."""
    return rgba.view(-1).view(torch.int32).view(rgba.shape[:-1])  # flat first: a side of 1 may have any stride


def channels(words: Tensor) -> list[Tensor]:
    """Extract red, green and blue from words of any shape, each as floats in 0..255."""
    return [((words >> shift) & 255).float() for shift in (0, 8, 16)]


def semitransparent_indices(alpha: Tensor) -> Tensor:
    """Find the flat indices (int64, ascending) at which alpha, H x W uint8, is neither 0 nor 255."""
    if not _on_cpu(alpha):
        return ((alpha - 1) < _SEMITRANSPARENT).view(-1).nonzero()[:, 0]
    flat = np.ascontiguousarray(alpha.numpy()).reshape(-1)
    whole = flat.size // 8 * 8
    rest = np.flatnonzero(flat[whole:] - np.uint8(1) < _SEMITRANSPARENT) + whole
    return torch.from_numpy(np.concatenate((_search_in_eights(flat[:whole]), rest)))


def _search_in_eights(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Search N bytes (a multiple of 8) eight at a time: most groups are all 0 or all 255 and are skipped."""
    eights = flat.view(np.uint64)
    mixed = np.flatnonzero((eights != 0) & (eights != _EIGHT_OPAQUE))
    places = np.flatnonzero(eights[mixed].view(np.uint8) - np.uint8(1) < _SEMITRANSPARENT)
    indices: NDArray[np.int64] = (mixed * 8)[places >> 3] + (places & 7)
    return indices


def _on_cpu(values: Tensor) -> bool:
    return values.device.type == "cpu"
