"""Read the boxes of an AVIF or HEIC file: colour space and crop (clean aperture) of its primary image.

Boxes are those of ISO/IEC 14496-12 and of HEIF, ISO/IEC 23008-12: `pitm` names the primary item, `ipco` lists
properties, `ipma` assigns them to items, `colr` is a colour space and `clap` the clean aperture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from inference.codec.colour_space import ColourSpace, of_code_points

_MAX_BOXES = 4096


@dataclass(frozen=True)
class Crop:
    """A clean aperture in pixel coordinates of the stored image."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class PrimaryItem:
    """Properties of the primary item; None if the file does not contain them."""

    space: ColourSpace | None = None
    aperture: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    """Width and height in pixels, and the offset of its centre from the image's centre."""

    def crop(self, width: int, height: int) -> Crop | None:
        """Return the crop for an image of this size (ISO/IEC 14496-12, 12.1.4.1); None if it is whole or invalid."""
        if self.aperture is None:
            return None
        wide, high, x, y = self.aperture
        left, top = Fraction(width - 1, 2) + x - (wide - 1) / 2, Fraction(height - 1, 2) + y - (high - 1) / 2
        box = Crop(round(left), round(top), round(left + wide), round(top + high))
        inside = 0 <= box.left < box.right <= width and 0 <= box.top < box.bottom <= height
        return box if inside and box != Crop(0, 0, width, height) else None


def primary_item(data: bytes) -> PrimaryItem:
    """Read the properties of the primary item. Invalid boxes are treated as absent."""
    try:
        return _primary_item(memoryview(data))
    except (struct.error, IndexError, ZeroDivisionError, ValueError):
        return PrimaryItem()


def _primary_item(data: memoryview) -> PrimaryItem:
    meta = _find(data, b"meta")
    if meta is None:
        return PrimaryItem()
    inside = meta[4:]  # a full box: version and flags first
    pitm, iprp = _find(inside, b"pitm"), _find(inside, b"iprp")
    if pitm is None or iprp is None:
        return PrimaryItem()
    item = int.from_bytes(pitm[4 : 6 if pitm[0] == 0 else 8], "big")
    ipco = _find(iprp, b"ipco")
    properties = list(_boxes(ipco)) if ipco is not None else []
    found = PrimaryItem()
    for kind, body in _boxes(iprp):
        if kind != b"ipma":
            continue
        for index in _associated(body, item):
            if 0 < index <= len(properties):
                found = _with(found, *properties[index - 1])
    return found


def _with(found: PrimaryItem, kind: bytes, body: memoryview) -> PrimaryItem:
    if kind == b"colr" and bytes(body[:4]) == b"nclx" and len(body) >= 8:
        primaries, transfer = struct.unpack_from(">HH", body, 4)
        return PrimaryItem(of_code_points(primaries, transfer), found.aperture)
    if kind == b"clap" and len(body) >= 32:
        numbers = struct.unpack_from(">IIIIiIiI", body)
        wide, high, x, y = (Fraction(numbers[at], numbers[at + 1]) for at in (0, 2, 4, 6))
        return PrimaryItem(found.space, (wide, high, x, y))
    return found


def _associated(body: memoryview, item: int) -> Iterator[int]:
    """Yield the 1-based property indices that an `ipma` box assigns to one item."""
    version, wide_index = body[0], bool(body[3] & 1)
    (entries,) = struct.unpack_from(">I", body, 4)
    at = 8
    for _ in range(min(entries, _MAX_BOXES)):
        size = 2 if version < 1 else 4
        owner = int.from_bytes(body[at : at + size], "big")
        count = body[at + size]
        at += size + 1
        for _ in range(count):
            if wide_index:
                index = int.from_bytes(body[at : at + 2], "big") & 0x7FFF
                at += 2
            else:
                index = body[at] & 0x7F
                at += 1
            if owner == item:
                yield index


def _find(data: memoryview, kind: bytes) -> memoryview | None:
    return next((body for name, body in _boxes(data) if name == kind), None)


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of consecutive boxes."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + size if size else len(data)
        if size and size < head:
            return
        yield bytes(kind), data[at + head : min(end, len(data))]
        at = end
