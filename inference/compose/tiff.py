"""A TIFF writer (TIFF 6.0): deflated strips, metadata in front of the pixels, 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from isal import isal_zlib
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from inference.codec.png import AnyDepth
from inference.compose.metadata import OutputMetadata, resolution_tags

_HEADER = b"II*\0\x08\0\0\0"
_LONG = 4
_DEFLATE = 8
_HORIZONTAL = 2
_GREY, _RGB = 1, 2
_STRAIGHT_ALPHA = 2
_STRIP_BYTES = 1 << 18
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS = 256, 257, 258, 259, 262, 273
_SAMPLES, _ROWS, _COUNTS, _PREDICTOR, _EXTRA = 277, 278, 279, 317, 338
_XMP, _ICC = 700, 34675


def encode_tiff(pixels: AnyDepth, metadata: OutputMetadata, *, level: int = 1) -> bytes:
    """Encode H x W x 1 (grey), H x W x 3 or H x W x 4 (straight alpha) of uint8 or uint16. `level` is ISA-L's."""
    height, width, channels = pixels.shape
    rows = max(1, _STRIP_BYTES // (width * channels * pixels.itemsize))
    strips = list(_strips(pixels, rows, level))
    tags = ImageFileDirectory_v2()
    for tag, value in _described(pixels, metadata).items():
        tags[tag] = value
    tags[_ROWS] = min(rows, height)
    for tag, values in ((_OFFSETS, _starts(strips)), (_COUNTS, tuple(map(len, strips)))):
        tags.tagtype[tag] = _LONG
        tags[tag] = values
    # Pillow moves the offsets of strips behind the directory.
    return b"".join((_HEADER, tags.tobytes(len(_HEADER)), *strips))


def _described(pixels: AnyDepth, metadata: OutputMetadata) -> dict[int, object]:
    height, width, channels = pixels.shape
    tags: dict[int, object] = {
        _WIDTH: width,
        _LENGTH: height,
        _BITS: (8 * pixels.itemsize,) * channels,
        _COMPRESSION: _DEFLATE,
        _PHOTOMETRIC: _GREY if channels == 1 else _RGB,
        _SAMPLES: channels,
        _PREDICTOR: _HORIZONTAL,
    }
    if channels == 4:
        tags[_EXTRA] = _STRAIGHT_ALPHA
    blobs = {_XMP: metadata.xmp, _ICC: metadata.icc if channels > 1 else b""}
    stored = {tag: blob for tag, blob in blobs.items() if blob}
    return tags | dict(metadata.tags) | resolution_tags(metadata.dpi) | stored


def _strips(pixels: AnyDepth, rows: int, level: int) -> Iterator[bytes]:
    for top in range(0, len(pixels), rows):
        strip = np.ascontiguousarray(pixels[top : top + rows])
        differences = strip.copy()
        np.subtract(strip[:, 1:], strip[:, :-1], out=differences[:, 1:])
        yield isal_zlib.compress(differences.astype(differences.dtype.newbyteorder("<"), copy=False), level)


def _starts(strips: list[bytes]) -> tuple[int, ...]:
    ends = np.cumsum([0, *map(len, strips[:-1])])
    return tuple(int(end) for end in ends)
