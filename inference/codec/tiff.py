"""What a TIFF's tags say of its pages and of the range of its grey values (TIFF 6.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from inference.errors import UnsupportedPicture

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
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
