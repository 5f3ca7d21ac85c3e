"""Cut-outs to bytes, and what can be told of such bytes without decoding them.

PNG alone: lossless WebP is smaller, but keeps its metadata behind the pixels, where the start of a file does not show
it; and the text is what tells a finished job from a foreign file.
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
    """Encode a cut-out as PNG; the colour under fully transparent pixels is not kept.

    `text` (keyword: value) can be read back by `read_text`. Raises ValueError for text that PNG forbids or that is
    longer than fits into `HEAD_BYTES`.
    """
    return encode_png(cutout.pixels, text=text, level=level, keep_hidden=False)


def read_text(head: bytes) -> dict[str, str]:
    """Read the uncompressed iTXt chunks before the pixels; the first `HEAD_BYTES` of a file suffice.

    Never raises: what is no PNG, is cut off, or fails its checksum has no text.
    """
    return dict(_texts(head)) if head.startswith(SIGNATURE) else {}


def is_complete_png(tail: bytes) -> bool:
    """Whether these last bytes of a file (12 or more) end a PNG."""
    return tail.endswith(END)


def _texts(head: bytes) -> Iterator[tuple[str, str]]:
    for kind, payload in _chunks(head):
        match = _UNCOMPRESSED.fullmatch(payload) if kind == _TEXT else None
        if match:
            yield match[1].decode("latin-1"), match[2].decode("utf-8", "replace")


def _chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and payload of each whole and sound chunk up to the pixels."""
    at = len(SIGNATURE)
    while at + 12 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, at)
        end = at + 12 + length
        if kind == _PIXELS or end > len(head):
            return
        if isal_zlib.crc32(head[at + 4 : end - 4]) == int.from_bytes(head[end - 4 : end], "big"):
            yield kind, head[at + 8 : end - 4]
        at = end
