"""Write an output's pixels in the format that its spec asks for, with its metadata."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from inference.codec.png import AnyDepth, chunk, encode_png_of_any_depth, without_hidden_colour
from inference.compose.metadata import OutputMetadata
from inference.compose.spec import OutputSpec
from inference.compose.tiff import encode_tiff
from inference.compose.values import Format
from inference.errors import OutputDoesNotFit

QUALITIES = MappingProxyType({Format.JPEG: 92, Format.WEBP: 85, Format.AVIF: 75})
"""Quality of each lossy format where the spec has none."""
LEAST_QUALITY = 20
"""`max_bytes` lowers the quality no further: below, a product photo is no use to a shop."""
_EFFORT, _METHOD = 20, 1
"""How hard libwebp tries without loss: method 0 makes files 1.8 times as large, method 4 takes half as long again."""
_LOSSY_METHOD = 2
"""How hard libwebp tries with loss: its default, 4, takes half as long again for files that are 5 % smaller."""
_AVIF_SPEED = 8
"""Speed 7 takes 2.7 times as long and saves nothing; speed 9 takes 0.6 times as long for 8 % larger files."""
_METRES_PER_INCH = 0.0254
_DOTS_PER_INCH = 1


def write(pixels: AnyDepth, spec: OutputSpec, metadata: OutputMetadata, png_level: int) -> bytes:
    """Encode H x W x 1, 3 or 4. Raises OutputDoesNotFit if the file exceeds `max_bytes`."""
    if not spec.is_lossy:
        return _require_bytes(_lossless(pixels, spec, metadata, png_level), spec)
    encode = _LOSSY[spec.format]
    best = spec.quality or QUALITIES[spec.format]
    data = encode(pixels, best, metadata)
    if spec.max_bytes is None or len(data) <= spec.max_bytes:
        return data
    return _smaller(lambda quality: encode(pixels, quality, metadata), best, spec)


def require_size(width: int, height: int, spec: OutputSpec) -> None:
    """Raise OutputDoesNotFit if a side is longer than the format allows."""
    limit = spec.format.longest_side
    if max(width, height) > limit:
        raise OutputDoesNotFit(
            f"the output has {width} x {height} pixels and {spec.format.value.upper()} holds {limit} a side; "
            f"set max_side = {limit} or less, or choose another format"
        )


def _require_bytes(data: bytes, spec: OutputSpec) -> bytes:
    if spec.max_bytes is not None and len(data) > spec.max_bytes:
        raise OutputDoesNotFit(
            f"the output has {len(data):,} bytes without loss, the limit is {spec.max_bytes:,}; "
            "choose jpeg, webp or avif, or set a smaller max_side or a larger max_bytes"
        )
    return data


def _smaller(encode: Callable[[int], bytes], best: int, spec: OutputSpec) -> bytes:
    """Find the highest quality below `best` whose file fits. File sizes grow with the quality, so halving finds it."""
    low, high = min(LEAST_QUALITY, best), best
    fitting = encode(low)
    if spec.max_bytes is not None and len(fitting) > spec.max_bytes:
        raise OutputDoesNotFit(
            f"the output has {len(fitting):,} bytes at quality {low}, the limit is {spec.max_bytes:,}; "
            "set a smaller max_side or canvas, or a larger max_bytes"
        )
    while high - low > 1:
        middle = (low + high) // 2
        data = encode(middle)
        if spec.max_bytes is None or len(data) <= spec.max_bytes:
            low, fitting = middle, data
        else:
            high = middle
    return fitting


def _lossless(pixels: AnyDepth, spec: OutputSpec, metadata: OutputMetadata, png_level: int) -> bytes:
    if spec.format is Format.WEBP:
        return _pillow(pixels, "WEBP", metadata, lossless=True, exact=True, quality=_EFFORT, method=_METHOD)
    if spec.format is Format.TIFF:
        return encode_tiff(without_hidden_colour(pixels), metadata, level=png_level)
    return encode_png_of_any_depth(pixels, text=metadata.text, level=png_level, chunks=_png_chunks(metadata))


def _png_chunks(metadata: OutputMetadata) -> list[bytes]:
    """Return the chunks of resolution and EXIF; the writer itself says that the colours are sRGB."""
    chunks = []
    if metadata.dpi:
        across, down = (round(dots / _METRES_PER_INCH) for dots in metadata.dpi)
        chunks.append(chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    exif = metadata.exif.removeprefix(b"Exif\0\0")
    return [*chunks, chunk(b"eXIf", exif)] if exif else chunks


def _jpeg(pixels: AnyDepth, quality: int, metadata: OutputMetadata) -> bytes:
    """Encode by libjpeg-turbo without chroma subsampling, which blurs coloured edges into the background."""
    grey = pixels.shape[2] == 1
    colours = ("GRAY", "Gray") if grey else ("RGB", "444")
    bare = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, *colours, fastdct=False)
    after_jfif = 4 + int.from_bytes(bare[4:6], "big")
    segments = [_jfif(metadata.dpi)]
    if metadata.xmp:
        segments.append(_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp))
    if metadata.exif:
        segments.append(_segment(0xE1, metadata.exif))
    if metadata.icc and not grey:
        segments.append(_segment(0xE2, b"ICC_PROFILE\0\x01\x01" + metadata.icc))
    return b"".join((bare[:2], *segments, bare[after_jfif:]))


def _jfif(dpi: tuple[float, float] | None) -> bytes:
    """Build the JFIF segment (ITU-T T.871, 10.1); without a resolution the pixels are stated to be square."""
    across, down = (min(65_535, max(1, round(dots))) for dots in dpi) if dpi else (1, 1)
    return _segment(0xE0, struct.pack(">5sHBHHBB", b"JFIF\0", 0x0101, _DOTS_PER_INCH if dpi else 0, across, down, 0, 0))


def _segment(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(payload) + 2) + payload


def _webp(pixels: AnyDepth, quality: int, metadata: OutputMetadata) -> bytes:
    return _pillow(pixels, "WEBP", metadata, quality=quality, method=_LOSSY_METHOD)


def _avif(pixels: AnyDepth, quality: int, metadata: OutputMetadata) -> bytes:
    """Encode the colours with loss and the matte without, as libwebp does.

    On one thread: several give other bytes, and the worker's cores are shared.
    """
    options: dict[str, Any] = {"quality": quality, "speed": _AVIF_SPEED, "max_threads": 1}
    options |= {"subsampling": "4:4:4", "codec": "aom"}
    if pixels.shape[2] == 4:
        options["advanced"] = {"alpha:cq-level": "0"}
    return _pillow(pixels, "AVIF", metadata, **options)


def _pillow(pixels: AnyDepth, format: str, metadata: OutputMetadata, **options: Any) -> bytes:
    shown = without_hidden_colour(pixels)
    image = Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown)
    blobs = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": metadata.icc}
    file = io.BytesIO()
    image.save(file, format, **options, **{name: blob for name, blob in blobs.items() if blob})
    return file.getvalue()


_LOSSY: MappingProxyType[Format, Callable[[AnyDepth, int, OutputMetadata], bytes]] = MappingProxyType(
    {Format.JPEG: _jpeg, Format.WEBP: _webp, Format.AVIF: _avif}
)
