"""The colours of a PNG or TIFF with 16 bits a channel, which `decode` reduces to 8.

Pillow unpacks 16-bit colours to the high byte of each value. Unpacked a second time, as if in the other byte order, the
same data gives the low bytes. So the whole path is Pillow's, and pictures of 8 bits pay nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from inference.codec.colour import is_srgb
from inference.codec.decode import MAX_PIXELS, OpenedPicture, open_picture, orientation_of, upright
from inference.codec.header import identify
from inference.codec.matrix_profile import MatrixProfile, read_matrix_profile
from inference.codec.tiff import grey_range

_GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_FOREIGN = ";16B" if sys.byteorder == "little" else ";16L"
_OTHER_ORDER: Mapping[str, str] = MappingProxyType({";16B": ";16L", ";16L": ";16B", ";16N": _FOREIGN})


def decode_deep(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint16] | None:
    """Decode the colours, H x W x 3 uint16, sRGB, upright, without alpha: the same picture as `codec.decode` returns.

    None for a picture of at most 8 bits, for a format other than PNG and TIFF, and for an ICC profile with lookup
    tables, which can only be applied at 8 bits. Never raises for damaged data, which `decode` reports.
    """
    content = bytes(data)
    try:
        format = identify(content)
        if format not in ("PNG", "TIFF"):
            return None
        opened = open_picture(format, content, max_pixels)
        if opened.image.mode in _GREY:
            return _grey(opened)
        if not _has_deep_colours(opened.image):
            return None
        return _colours(opened, open_picture(format, content, max_pixels).image)
    except MemoryError:
        raise
    except Exception:  # parsers of untrusted data raise anything; the picture has been decoded with 8 bits
        return None


def _has_deep_colours(image: ImageFile) -> bool:
    return bool(image.tile) and all(_raw_mode(tile.args)[-4:] in _OTHER_ORDER for tile in image.tile)


def _raw_mode(args: object) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _colours(opened: OpenedPicture, low: ImageFile) -> NDArray[np.uint16] | None:
    """Join the high bytes of one image and the low bytes of another of the same data."""
    profile = _profile(opened, "RGB")
    if profile is None:
        return None
    low.tile = [tile._replace(args=_other_order(tile.args)) for tile in low.tile]
    high = np.asarray(opened.image)[..., :3]
    colours: NDArray[np.uint16] = high.astype(np.uint16)
    colours <<= 8
    colours |= np.asarray(low)[..., :3]
    return _upright(profile.to_srgb(colours), opened)


def _other_order(args: Any) -> Any:
    raw = _raw_mode(args)
    swapped = raw[:-4] + _OTHER_ORDER[raw[-4:]]
    return (swapped, *args[1:]) if isinstance(args, tuple) else swapped


def _grey(opened: OpenedPicture) -> NDArray[np.uint16] | None:
    profile = _profile(opened, "L")
    if profile is None:
        return None
    values = np.asarray(opened.image).astype(np.uint32)
    if isinstance(opened.image, TiffImageFile):
        meaning = grey_range(opened.image)
        if meaning.full is None:
            return None
        values = np.minimum(values, meaning.full) * 65535 // meaning.full
        values = 65535 - values if meaning.white_is_zero else values
    grey = np.repeat(values.astype(np.uint16)[..., None], 3, axis=2)
    return _upright(profile.to_srgb(grey), opened)


def _profile(opened: OpenedPicture, mode: str) -> MatrixProfile | None:
    """Return the picture's profile; None if it cannot be applied at 16 bits."""
    icc = opened.profile()
    if icc is None or (mode == "RGB" and is_srgb(icc, mode)):
        return MatrixProfile()
    return read_matrix_profile(icc)


def _upright(colours: NDArray[np.uint16], opened: OpenedPicture) -> NDArray[np.uint16]:
    turned = upright(colours.view(np.uint8), opened.crop, orientation_of(opened.image))
    return turned.view(np.uint16)
