"""Encoding of cut-outs as PNG, and reading a PNG's text without decoding it.

The text identifies the job that an output belongs to, and it must be readable from the start of the file. Lossless WebP
is smaller, but stores its metadata behind the pixels.
"""

import re
import struct
from collections.abc import Iterator, Mapping

from isal import isal_zlib

from inference.codec.png import END, NO_TEXT, SIGNATURE, encode_png
from inference.picture import Cutout

_TEXT = b"iTXt"
_PIXELS = b"IDAT"
# Keyword, compression flag 0, method 0, language, translated keyword, text (PNG, 11.3.3.4).
_UNCOMPRESSED = re.compile(rb"([^\0]{1,79})\0\0\0[^\0]*\0[^\0]*\0(.*)", re.DOTALL)


def encode(cutout: Cutout, *, text: Mapping[str, str] = NO_TEXT, level: int = 1) -> bytes:
    """Encode a cut-out as PNG; the colour under fully transparent pixels is dropped.

    `text` maps keywords to values, which `read_text` reads; `level` is ISA-L's, 0 to 3. Raises ValueError for text that
    PNG forbids, or that does not fit into `HEAD_BYTES`.
    """
    return encode_png(cutout.pixels, text=text, level=level, keep_hidden=False)


def read_text(head: bytes) -> dict[str, str]:
    """Read the uncompressed iTXt chunks before the pixels; the first `HEAD_BYTES` of a file suffice.

    Never raises: data that is not a PNG, is truncated, or has a wrong checksum has no text.
    """
    return dict(_texts(head)) if head.startswith(SIGNATURE) else {}


def is_complete_png(tail: bytes) -> bool:
    """Whether these last bytes of a file (at least 12) are the end of a PNG."""
    return tail.endswith(END)


def _texts(head: bytes) -> Iterator[tuple[str, str]]:
    for kind, payload in _chunks(head):
        match = _UNCOMPRESSED.fullmatch(payload) if kind == _TEXT else None
        if match:
            yield match[1].decode("latin-1"), match[2].decode("utf-8", "replace")


def _chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each complete chunk with a valid checksum, up to the pixels."""
    at = len(SIGNATURE)
    while at + 12 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, at)
        end = at + 12 + length
        if kind == _PIXELS or end > len(head):
            return
        if isal_zlib.crc32(head[at + 4 : end - 4]) == int.from_bytes(head[end - 4 : end], "big"):
            yield kind, head[at + 8 : end - 4]
        at = end
