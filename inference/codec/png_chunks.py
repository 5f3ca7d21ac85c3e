"""What a PNG says beside its pixels, and a copy of it that holds nothing that could keep them from being read.

Layout and chunks are those of the PNG specification, third edition. A decoder may stop at metadata that is damaged or
large; the pixels do not depend on it, so it is left out before a decoder sees it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from isal import isal_zlib

from inference.codec.colour_space import SRGB, ColourSpace, of_code_points, of_gamma
from inference.errors import TruncatedPicture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_COLOUR = frozenset({b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_TELLING_TEXTS = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts that may say how the camera was held."""
_MOST_TEXT = 1 << 20
_MOST_PROFILE = 16 << 20
"""Bytes of an unpacked ICC profile; the largest in use, with tables for printers, have some 4 MiB."""


@dataclass(frozen=True)
class PngFile:
    """The file without needless metadata, and what its chunks say of colour."""

    data: bytes = field(repr=False)
    icc: bytes | None = field(repr=False)
    space: ColourSpace | None
    """The colour space by cICP, sRGB, gAMA and cHRM; None where there is none of them."""


def read_chunks(data: bytes) -> PngFile:
    """Take a PNG apart. Raises TruncatedPicture where a chunk that the pixels need has a wrong checksum."""
    kept: list[tuple[int, int]] = []
    told: dict[bytes, bytes] = {}
    for kind, start, end in _chunks(data):
        body = data[start + 8 : end - 4]
        sound = end > len(data) or _is_sound(data, start, end)  # the decoder says what is cut off
        if kind in _CRITICAL:
            if not sound:
                raise TruncatedPicture(f"the PNG's {kind.decode()} data is damaged; upload or export it again")
            kept.append((start, end))
        elif not sound:
            continue
        elif kind in (b"tRNS", b"eXIf") or (
            kind in _TEXTS and body.startswith(_TELLING_TEXTS) and _is_short(kind, body)
        ):
            kept.append((start, end))
        elif kind in _COLOUR:
            told.setdefault(kind, body)
    return PngFile(_joined(data, kept), _icc(told.get(b"iCCP")), _space(told))


def png_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG; None where it does not begin with its header chunk."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, length and checksum included; the last one may end behind the data."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _is_sound(data: bytes, start: int, end: int) -> bool:
    """Whether the checksum is right."""
    (stated,) = struct.unpack_from(">I", data, end - 4)
    return bool(stated == isal_zlib.crc32(memoryview(data)[start + 4 : end - 4]))


def _joined(data: bytes, kept: list[tuple[int, int]]) -> bytes:
    """The kept chunks behind the signature; the very same bytes where nothing is left out."""
    whole = sum(min(end, len(data)) - start for start, end in kept) + len(_SIGNATURE)
    if whole == len(data):
        return data
    view = memoryview(data)
    return b"".join([_SIGNATURE, *(view[start:end] for start, end in kept)])


def _is_short(kind: bytes, body: bytes) -> bool:
    """Whether a text can be unpacked within the limit that decoders have."""
    packed = body.partition(b"\0")[2]
    if kind == b"tEXt" or (kind == b"iTXt" and packed[:1] == b"\0"):
        return len(body) <= _MOST_TEXT
    if kind == b"iTXt":
        packed = packed[1:].split(b"\0", 2)[-1]
    return _unpacked(packed[1:] if kind == b"zTXt" else packed, _MOST_TEXT) is not None


def _icc(body: bytes | None) -> bytes | None:
    """The ICC profile of an iCCP chunk; None where it is damaged or huge."""
    return _unpacked((body or b"").partition(b"\0")[2][1:], _MOST_PROFILE) or None


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """What a zlib stream holds; None where it is damaged, or longer than `most` bytes."""
    inflating = zlib.decompressobj()
    try:
        content = inflating.decompress(packed, most)
    except zlib.error:
        return None
    return content if inflating.eof else None


def _space(told: dict[bytes, bytes]) -> ColourSpace | None:
    """The first of cICP, sRGB, gAMA with cHRM that is there and makes sense."""
    code_points = told.get(b"cICP", b"")
    if len(code_points) == 4:
        return of_code_points(code_points[0], code_points[1])
    if len(told.get(b"sRGB", b"")) == 1:
        return SRGB
    gamma, chromaticities = _numbers(told.get(b"gAMA"), 1), _numbers(told.get(b"cHRM"), 8)
    if gamma is None and chromaticities is None:
        return None
    return of_gamma(gamma[0] if gamma and gamma[0] > 0 else None, chromaticities)


def _numbers(body: bytes | None, count: int) -> tuple[float, ...] | None:
    """`count` numbers that are stored as integers times 100,000; None for a chunk of another length."""
    if body is None or len(body) != 4 * count:
        return None
    return tuple(value / 100_000 for value in struct.unpack(f">{count}I", body))
