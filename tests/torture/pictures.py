"""The bytes of what the producer puts, and what must come of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.equipment.daemon import colour, photo
from tests.equipment.judge import shows
from tests.torture.record import Kind

OUTPUT_OPTIONS = ("--preset", "cutout", "--output", "png,name=tight,trim=true,margin=0%")
"""Two outputs: the plain cut-out, and the same without its empty border."""
SECOND = "tight/"


def contents(kind: Kind, number: int) -> bytes:
    """The bytes of a file of that kind; those of healthy ones differ by number."""
    whole = photo(colour(number))
    match kind:
        case Kind.GARBAGE:
            return b"<html>404 Not Found</html>" + b"%d" % number
        case Kind.EMPTY:
            return b""
        case Kind.TRUNCATED:
            return whole[: len(whole) * 2 // 3]
        case Kind.TOO_LARGE:
            return _with_size(whole, 60_000, 60_000)
    return whole


def key_of_output(key: str, prefix: str = "") -> str:
    """The key that an output of an image has."""
    return prefix + key.rpartition(".")[0] + ".png"


def is_cutout(data: bytes, number: int, prefix: str) -> bool:
    """Whether these are the bytes of a whole output of the picture with that number, to the last pixel."""
    if not prefix:
        return shows(data, colour(number))
    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError):
        return False
    return pixels.size > 0 and pixels.shape[2:] == (4,) and bool((pixels == (*colour(number), 255)).all())


def _with_size(png: bytes, width: int, height: int) -> bytes:
    """The same PNG with another size in its header."""
    header = struct.pack(">II", width, height) + png[24:29]
    return png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]
