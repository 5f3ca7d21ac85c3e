"""What a TIFF's tags say of its pages and of the range of its grey values (TIFF 6.0)."""

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
"""Bits of NewSubfileType: a smaller version of another page, and a transparency mask."""
_OLD_REDUCED = 2
_UNSIGNED, _WHITE_IS_ZERO = 1, 0
_MOST_PAGES = 64
"""Pages that are looked at for the main one. A shop's TIFF has a thumbnail or two; a scan of a book has none at all."""


def seek_main_page(image: TiffImageFile) -> None:
    """Go to the first page that is neither a thumbnail nor a mask.

    Raises UnsupportedPicture where there is none: a raw file keeps its picture where it is not read here.
    """
    for page in range(_MOST_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        except (OSError, SyntaxError, ValueError):
            if _is_main(image):
                raise
            continue  # a mask in a form that is not read
        if _is_main(image):
            return
    raise UnsupportedPicture(
        "every page of this TIFF is a thumbnail or a mask, and its picture is where it is not read here, as in a raw "
        "file; export it as JPEG, PNG or a plain TIFF"
    )


def _is_main(image: TiffImageFile) -> bool:
    new, old = _number(image, _NEW_SUBFILE_TYPE, 0), _number(image, _SUBFILE_TYPE, 0)
    return not new & (_REDUCED | _MASK) and old != _OLD_REDUCED


def unread_variant(content: bytes) -> str | None:
    """Name what makes a TIFF one that is not read: its compression, or its kind of pixel; None if it is neither.

    To be asked after the decoder has failed, whose own words say neither.
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
    except Exception:  # a parser of untrusted data: then the file is damaged, and no variant
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
    """How the numbers of a deep grey picture are meant."""

    full: int | None
    """The number of full intensity, None where only the peak of the numbers can tell."""
    white_is_zero: bool
    unsigned: bool


def grey_range(image: TiffImageFile) -> GreyRange:
    """How the tags say that the grey values are to be read."""
    bits = _number(image, _BITS_PER_SAMPLE, 0)
    unsigned = _number(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    full = (1 << bits) - 1 if unsigned and 8 < bits <= 16 else None
    return GreyRange(full, _number(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO, unsigned)


def as_unsigned(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The same bits as unsigned numbers: Pillow has no unsigned mode of 32 bits."""
    return values.view(np.uint32) if values.dtype == np.int32 else values


def _number(image: TiffImageFile, tag: int, default: int) -> int:
    """The first value of a tag; the default where it is missing or no integer."""
    value: Any = image.tag_v2.get(tag, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default
