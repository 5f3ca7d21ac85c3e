"""Complete truncated files, so that decoders return what is there: JPEG, PNG and uncompressed TIFF.

Pillow has a switch for truncated files, but it holds for the whole process and so for every thread. Here the data
is completed instead. Pixels of other formats depend on data that is missing, or decoders return none of them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from isal import isal_zlib
from PIL.TiffImagePlugin import TiffImageFile

from inference.codec.header import first_scan
from inference.codec.png import SIGNATURE, chunk
from inference.codec.png_chunks import sound_chunks
from inference.codec.tiff import seek_main_page

_CHANNELS: Mapping[int, int] = MappingProxyType({0: 1, 2: 3, 3: 1, 4: 2, 6: 4})
"""By colour type (PNG specification, third edition, 11.2.1)."""
_PIECE = 4096
"""Bytes that are decompressed at a time: what comes before damaged data is kept."""
_LEAST_SCAN = 16
"""Bytes of a scan: fewer hold a few blocks at most, the last of which libjpeg makes up."""
_COMPRESSION, _BITS_PER_SAMPLE = 259, 258
_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))
"""Tags of strips and of tiles."""


def complete(format: str, data: bytes) -> bytes | None:
    """Complete a truncated file, so that its decoder accepts it; None if nothing of the picture can be decoded.

    The decoder fills what is missing: a JPEG with grey or, if it is progressive, coarsely; a PNG with transparency or
    black; a TIFF with black. Check the size in the header before, which decides how much is allocated.
    """
    completed = _COMPLETED.get(format)
    return completed(data) if completed else None


def _jpeg(data: bytes) -> bytes | None:
    scan = first_scan(data)
    begin = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return data + b"\xff\xd9" if len(data) >= begin + _LEAST_SCAN else None


def _png(data: bytes) -> bytes | None:
    """Keep whole rows, and add empty ones; None for an interlaced PNG, whose rows would be incomplete throughout."""
    before, after, packed = sound_chunks(data)
    header = next((one for one in before if one[4:8] == b"IHDR" and len(one) == 25), None)
    if header is None:
        return None
    width, height, bits, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", header, 8)
    if interlaced or colours not in _CHANNELS:
        return None
    stride = 1 + (width * _CHANNELS[colours] * bits + 7) // 8
    rows = _unpacked(packed, stride * height)
    if len(rows) < stride:
        return None
    del rows[len(rows) - len(rows) % stride :]
    rows.extend(bytes(stride * height - len(rows)))  # filter 0, and zeros
    return b"".join([SIGNATURE, *before, chunk(b"IDAT", isal_zlib.compress(rows, 1)), *after, chunk(b"IEND", b"")])


def _unpacked(packed: bytes, limit: int) -> bytearray:
    """Decompress a zlib stream up to its end, its first damage or `limit` bytes."""
    decompressor, unpacked = zlib.decompressobj(), bytearray()
    try:
        for at in range(0, len(packed), _PIECE):
            unpacked += decompressor.decompress(packed[at : at + _PIECE], limit - len(unpacked))
            if decompressor.eof or len(unpacked) == limit:
                break
    except zlib.error:
        pass
    return unpacked


def _tiff(data: bytes) -> bytes | None:
    """Fill the end with zeros, if the strips or tiles are not compressed and their directory is there."""
    image = TiffImageFile(io.BytesIO(data))
    seek_main_page(image)
    tags = image.tag_v2
    places = next(((tags[offsets], tags[counts]) for offsets, counts in _OFFSETS_AND_COUNTS if counts in tags), None)
    if places is None or tags.get(_COMPRESSION, 1) != 1:
        return None
    missing = max(offset + count for offset, count in zip(*places, strict=True)) - len(data)
    bytes_per_pixel = sum(tags.get(_BITS_PER_SAMPLE, (8,))) // 8 + 1
    if min(places[0]) >= len(data) or missing > image.width * image.height * bytes_per_pixel:
        return None
    return data + bytes(max(0, missing))


_COMPLETED: Mapping[str, Callable[[bytes], bytes | None]] = MappingProxyType(
    {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff}
)
