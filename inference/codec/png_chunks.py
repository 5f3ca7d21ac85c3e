"""Read a PNG's chunks: colour information, and a copy of the file without metadata that could stop a decoder.

Layout and chunks are those of the PNG specification, third edition. Decoders reject files with
damaged or very large metadata. The pixels do not depend on it, so this module removes it first.
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
_ORIENTATION_TEXTS = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
"""Keywords of text chunks that may contain the EXIF orientation."""
_MAX_TEXT = 1 << 20
_MAX_PROFILE = 16 << 20
"""Largest uncompressed ICC profile in bytes; printer profiles have about 4 MiB."""


@dataclass(frozen=True)
class PngFile:
    """A PNG file without unneeded metadata, and its colour information."""

    data: bytes = field(repr=False)
    icc: bytes | None = field(repr=False)
    space: ColourSpace | None
    """The colour space from cICP, sRGB, or gAMA and cHRM; None if the file has none of them."""


def read_chunks(data: bytes) -> PngFile:
    """Read the chunks of a PNG. Raises TruncatedPicture if a chunk that the pixels need has a wrong checksum."""
    kept: list[tuple[int, int]] = []
    stated: dict[bytes, bytes] = {}
    for kind, start, end in _chunks(data):
        body = data[start + 8 : end - 4]
        valid = end > len(data) or _has_valid_checksum(data, start, end)  # the decoder reports a file that is cut off
        if kind in _CRITICAL:
            if not valid:
                raise TruncatedPicture(f"the PNG's {kind.decode()} data is damaged; upload or export it again")
            kept.append((start, end))
        elif not valid:
            continue
        elif kind in (b"tRNS", b"eXIf") or (
            kind in _TEXTS and body.startswith(_ORIENTATION_TEXTS) and _is_short(kind, body)
        ):
            kept.append((start, end))
        elif kind in _COLOUR:
            stated.setdefault(kind, body)
    return PngFile(_joined(data, kept), _icc(stated.get(b"iCCP")), _space(stated))


def sound_chunks(data: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    """Return the sound chunks before the pixels, those after them, and the compressed pixels up to the first damage.

    A chunk of pixels that is cut off counts, one with a wrong checksum does not.
    """
    before: list[bytes] = []
    after: list[bytes] = []
    pixels: list[bytes] = []
    damaged = False
    for kind, start, end in _chunks(data):
        cut_off = end > len(data)
        valid = not cut_off and _has_valid_checksum(data, start, end)
        if kind == b"IDAT":
            damaged = damaged or not (valid or cut_off)
            if not damaged:
                pixels.append(data[start + 8 : min(end - 4, len(data))])
        elif valid and kind != b"IEND":
            (after if pixels or damaged else before).append(data[start:end])
    return before, after, b"".join(pixels)


def described_chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the payloads of a PNG's resolution (pHYs) and EXIF (eXIf), as far as they are valid."""
    found: dict[bytes, bytes] = {}
    for kind, start, end in _chunks(data):
        if kind in (b"pHYs", b"eXIf") and end <= len(data) and _has_valid_checksum(data, start, end):
            found.setdefault(kind, data[start + 8 : end - 4])
    return found


def png_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG; None if the file does not start with a header chunk."""
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def png_depth(data: bytes) -> int:
    """Return the bits of each channel, as a header states them that `png_size` has accepted."""
    return data[24] if len(data) > 24 else 8


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end offset of each chunk with its length and checksum; the last may end beyond the data."""
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end


def _has_valid_checksum(data: bytes, start: int, end: int) -> bool:
    """Return whether a chunk's checksum is correct."""
    (stated,) = struct.unpack_from(">I", data, end - 4)
    return bool(stated == isal_zlib.crc32(memoryview(data)[start + 4 : end - 4]))


def _joined(data: bytes, kept: list[tuple[int, int]]) -> bytes:
    """Concatenate the kept chunks after the signature; return the original bytes if no chunk was removed."""
    whole = sum(min(end, len(data)) - start for start, end in kept) + len(_SIGNATURE)
    if whole == len(data):
        return data
    view = memoryview(data)
    return b"".join([_SIGNATURE, *(view[start:end] for start, end in kept)])


def _is_short(kind: bytes, body: bytes) -> bool:
    """Return whether a text chunk decompresses to at most the size that decoders accept."""
    packed = body.partition(b"\0")[2]
    if kind == b"tEXt" or (kind == b"iTXt" and packed[:1] == b"\0"):
        return len(body) <= _MAX_TEXT
    if kind == b"iTXt":
        packed = packed[1:].split(b"\0", 2)[-1]
    return _unpacked(packed[1:] if kind == b"zTXt" else packed, _MAX_TEXT) is not None


def _icc(body: bytes | None) -> bytes | None:
    """Return the ICC profile of an iCCP chunk; None if it is damaged or too large."""
    return _unpacked((body or b"").partition(b"\0")[2][1:], _MAX_PROFILE) or None


def _unpacked(packed: bytes, limit: int) -> bytes | None:
    """Decompress a zlib stream; None if it is damaged or longer than `limit` bytes."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(packed, limit)
    except zlib.error:
        return None
    return content if decompressor.eof else None


def _space(stated: dict[bytes, bytes]) -> ColourSpace | None:
    """Return the colour space from the first valid one of cICP, sRGB, and gAMA with cHRM."""
    code_points = stated.get(b"cICP", b"")
    if len(code_points) == 4:
        return of_code_points(code_points[0], code_points[1])
    if len(stated.get(b"sRGB", b"")) == 1:
        return SRGB
    gamma, chromaticities = _numbers(stated.get(b"gAMA"), 1), _numbers(stated.get(b"cHRM"), 8)
    if gamma is None and chromaticities is None:
        return None
    return of_gamma(gamma[0] if gamma and gamma[0] > 0 else None, chromaticities)


def _numbers(body: bytes | None, count: int) -> tuple[float, ...] | None:
    """Decode `count` numbers, stored as integers times 100,000; None if the chunk has another length."""
    if body is None or len(body) != 4 * count:
        return None
    return tuple(value / 100_000 for value in struct.unpack(f">{count}I", body))
