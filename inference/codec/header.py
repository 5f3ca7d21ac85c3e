"""Format, size and completeness of a picture from its bytes, without decoding a pixel."""

import re
import struct
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType

from inference.errors import NotAPicture, TruncatedPicture, UnsupportedPicture

READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF"

_SIGNATURES: tuple[tuple[str, bytes], ...] = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", b"GIF87a"),
    ("GIF", b"GIF89a"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("TIFF", b"II+\0"),
    ("TIFF", b"MM\0+"),
)
_UNSUPPORTED: tuple[tuple[str, bytes], ...] = (
    ("Photoshop", b"8BPS"),
    ("OpenEXR", b"v/1\x01"),
    ("JPEG XL", b"\xff\x0a"),
    ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("JPEG 2000", b"\xff\x4f\xff\x51"),
    ("PDF", b"%PDF-"),
)
_NEEDED_SEGMENTS = ((0xE1, b"Exif\0\0", 14), (0xE2, b"ICC_PROFILE\0", 15), (0xEE, b"Adobe", 12))
"""Marker, first bytes and minimum length of the segments on which a JPEG's appearance depends."""
MAX_SCANS = 100
"""Scans of a JPEG. Encoders write about ten. A scan of a few bytes takes as long as decoding the whole picture."""
_SCAN = re.compile(rb"\xff\xda")  # twice as fast as bytes.count
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; those left out are of tables, and one is reserved."""
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xDB)})
"""Markers without a length, and the start of a scan, which must come after the frame header."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# English text can also begin with "BM", so the size of the header must be a known one, too.
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def identify(data: bytes) -> str:
    """Identify the format from its signature: 'JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'AVIF' or 'HEIC'.

    Raises UnsupportedPicture for other well-known formats, NotAPicture for anything else.
    """
    if not data:
        raise NotAPicture("the file is empty; upload it again")
    found = _by_signature(_SIGNATURES, data) or _by_structure(data)
    if found:
        return found
    unsupported = _by_signature(_UNSUPPORTED, data)
    if unsupported:
        raise UnsupportedPicture(f"{unsupported} is not supported; export the picture as {READABLE}")
    raise NotAPicture(f"the file is in no known picture format; supported are {READABLE}")


def _by_signature(signatures: tuple[tuple[str, bytes], ...], data: bytes) -> str | None:
    return next((name for name, magic in signatures if data.startswith(magic)), None)


def _by_structure(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    brands = _brands(data)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIF_BRANDS else None


def _brands(data: bytes) -> frozenset[bytes]:
    """Return the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return frozenset({data[8:12]} | {data[at : at + 4] for at in range(16, end, 4)})


def webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from a WebP's first 30 bytes (RFC 9649, sections 2.5 to 2.7).

    Pillow's reader would allocate the canvas while opening the file, before a limit can be applied. Raises
    struct.error if the data is too short, UnsupportedPicture for an unknown first chunk.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise UnsupportedPicture(f"a WebP that begins with chunk {kind!r} is not supported; export it as {READABLE}")


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height from a JPEG's frame header (ITU-T T.81, B.2.2); None if the segments lead to none.

    Takes a tenth of the time of Pillow's reader, which also parses tables and metadata.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        kind = data[at + 1]
        if kind in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if kind in _BARE:
            return None
        at += 1 if kind == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def without_jpeg_metadata(data: bytes) -> bytes:
    """Remove comments and application segments from a JPEG (ITU-T T.81, B.2.4.6), apart from those that matter.

    These are EXIF, parts of an ICC profile and Adobe's colour transform, if they are long enough to be valid. Decoders
    reject files in which others are damaged.
    """
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        kind, body = data[at + 1], data[at + 4 : end]
        is_metadata = 0xE0 <= kind <= 0xEF or kind == 0xFE
        needed = any(kind == k and body.startswith(head) and len(body) >= least for k, head, least in _NEEDED_SEGMENTS)
        if needed or not is_metadata:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def require_end(format: str, data: bytes) -> None:
    """Raise TruncatedPicture if the data lacks its end marker. Bytes after the end are accepted.

    Some decoders fill a truncated picture with grey and report success, and metadata such as the orientation may come
    after the pixels. Formats without a simple end marker are left to their decoders.
    """
    has_end = _ENDS.get(format)
    if has_end and not has_end(data):
        raise TruncatedPicture(f"the {format} data is truncated; upload the file again")


def require_few_scans(data: bytes) -> None:
    """Raise UnsupportedPicture for a JPEG with too many scans, which would occupy a core for hours."""
    # Within scans 0xFF is always escaped; in segments between them, the count can only be too high.
    scans = sum(1 for _ in islice(_SCAN.finditer(data, first_scan(data)), MAX_SCANS + 1))
    if scans > MAX_SCANS:
        raise UnsupportedPicture(f"a JPEG of more than {MAX_SCANS} scans is not supported; save it again")


def _jpeg_has_end(data: bytes) -> bool:
    # An embedded thumbnail has its own end marker, so only what follows the first scan counts.
    return data.rfind(b"\xff\xd9", first_scan(data)) >= 0


def first_scan(data: bytes) -> int:
    """Return the offset of a JPEG's first start-of-scan marker, or of the first data that is not a marker segment."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        fill = data[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return min(at, len(data))


def _png_has_end(data: bytes) -> bool:
    return data.rfind(b"IEND") >= 0


def _webp_has_end(data: bytes) -> bool:
    # Some writers count the padding byte of the last chunk but do not write it.
    return len(data) + 1 >= 8 + int.from_bytes(data[4:8], "little")


_ENDS: Mapping[str, Callable[[bytes], bool]] = MappingProxyType(
    {"JPEG": _jpeg_has_end, "PNG": _png_has_end, "WEBP": _webp_has_end}
)
