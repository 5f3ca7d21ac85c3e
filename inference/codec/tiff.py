"""Read a TIFF's tags: which page is the picture, and how its grey values are scaled (TIFF 6.0)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import COMPRESSION_INFO, OPEN_INFO, ImageFileDirectory_v2, TiffImageFile

from inference.errors import UnsupportedPicture

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_COMPRESSION, _SAMPLES_PER_PIXEL, _EXTRA_SAMPLES = 259, 277, 338
_WEBP = 50001
"""Pillow knows the number, but its libtiff is built without it."""
_COMPRESSIONS: Mapping[int, str] = MappingProxyType(
    {34661: "JBIG", 34712: "JPEG 2000", 34713: "Nikon NEF", 34887: "LERC", 34892: "lossy DNG", 50001: "WebP",
     50002: "JPEG XL", 52546: "JPEG XL"}
)  # fmt: skip
_PHOTOMETRICS: Mapping[int, str] = MappingProxyType(
    {0: "grey", 1: "grey", 2: "RGB", 3: "palette colours", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIELAB",
     9: "ICCLAB", 32803: "a raw sensor's colours", 34892: "raw colours"}
)  # fmt: skip
_SAMPLE_FORMATS: Mapping[int, str] = MappingProxyType(
    {2: ", signed", 3: ", floating point", 5: ", complex", 6: ", complex"}
)
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a reduced version of another page, and a transparency mask."""
_OLD_REDUCED = 2
_UNSIGNED, _WHITE_IS_ZERO = 1, 0
_MAX_PAGES = 64
"""Pages that are searched for the main one, at most; a photo has at most a few thumbnails."""


def seek_main_page(image: TiffImageFile) -> None:
    """Seek to the first page that is neither a thumbnail nor a mask.

    Raises UnsupportedPicture if there is none, as in many raw files, which store the picture in a sub-directory.
    """
    for page in range(_MAX_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        except (OSError, SyntaxError, ValueError):
            if _is_main(image):
                raise
            continue  # a mask in an unsupported format
        if _is_main(image):
            return
    raise UnsupportedPicture(
        "every page of this TIFF is a thumbnail or a mask, as in a raw file, whose picture is not supported; export it "
        "as JPEG, PNG or a plain TIFF"
    )


def _is_main(image: TiffImageFile) -> bool:
    new, old = _number(image, _NEW_SUBFILE_TYPE, 0), _number(image, _SUBFILE_TYPE, 0)
    return not new & (_REDUCED | _MASK) and old != _OLD_REDUCED


def unsupported_variant(content: bytes) -> str | None:
    """Name the unsupported property of a TIFF, its compression or its pixel format; None if it has neither.

    Call it after the decoder has failed, because the decoder's own message does not name the cause.
    """
    try:
        tags = ImageFileDirectory_v2(content[:16] if content[2:4] in (b"+\0", b"\0+") else content[:8])
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        compression = int(tags.get(_COMPRESSION, 1))
        bits, formats = tags.get(_BITS_PER_SAMPLE, (1,)), tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))
        extra = tuple(tags.get(_EXTRA_SAMPLES, ()))
        photometric, samples = int(tags.get(_PHOTOMETRIC, 1)), int(tags.get(_SAMPLES_PER_PIXEL, 1))
    except Exception:  # a parser of untrusted data: the file is damaged, not unsupported
        return None
    if compression not in COMPRESSION_INFO or compression == _WEBP:
        return f"a TIFF compressed as {_COMPRESSIONS.get(compression, f'number {compression}')}"
    known = any(info[1] == photometric and info[4] == tuple(bits) and info[5] == extra for info in OPEN_INFO)
    if known:
        return None
    colours = _PHOTOMETRICS.get(photometric, f"photometric {photometric}")
    kind = _SAMPLE_FORMATS.get(formats[0] if formats else _UNSIGNED, "")
    return f"a TIFF of {colours} with {samples} channels of {'/'.join(map(str, sorted(set(bits))))} bits{kind}"


@dataclass(frozen=True)
class GreyRange:
    """How to scale the values of a grey picture with more than 8 bits."""

    full: int | None
    """The value of full intensity; None if it must be derived from the largest value."""
    white_is_zero: bool
    unsigned: bool


def grey_range(image: TiffImageFile) -> GreyRange:
    """Read bit depth, sign and polarity of the grey values from the tags."""
    bits = _number(image, _BITS_PER_SAMPLE, 0)
    unsigned = _number(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    full = (1 << bits) - 1 if unsigned and 8 < bits <= 16 else None
    return GreyRange(full, _number(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO, unsigned)


def as_unsigned(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Reinterpret signed values as unsigned ones, because Pillow has no unsigned 32-bit mode."""
    return values.view(np.uint32) if values.dtype == np.int32 else values


def tiff_depth(image: TiffImageFile) -> int:
    """Return the bits of the first channel."""
    return _number(image, _BITS_PER_SAMPLE, 1)


def _number(image: TiffImageFile, tag: int, default: int) -> int:
    """Return the first value of a tag; the default if it is missing or not an integer."""
    value: Any = image.tag_v2.get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default
