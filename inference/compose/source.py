"""What an output may carry over from its source besides the matte: resolution, EXIF and 16-bit colours."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.ImageFile import ImageFile

from inference.codec.decode import MAX_PIXELS, reader_of
from inference.codec.deep import decode_deep
from inference.codec.header import identify
from inference.codec.png_chunks import described_chunks
from inference.compose.spec import OutputSpec

Dpi = tuple[float, float]

_METRES_PER_INCH = 0.0254
_PER_METRE = 1
_MAX_DPI = 65_535


@dataclass(frozen=True, eq=False)
class SourceMetadata:
    """Facts about a source that its decoded picture does not hold."""

    dpi: Dpi | None = None
    """Horizontal and vertical resolution in dots per inch; None if the file states none."""
    exif: Mapping[int, Any] = field(default_factory=dict)
    """The EXIF tags of the main directory, by number; the EXIF and GPS directories are mappings."""
    deep: NDArray[np.uint16] | None = field(default=None, repr=False)
    """H x W x 3, sRGB, upright: the colours of a 16-bit source; None for a source of 8 bits."""


NO_METADATA = SourceMetadata()


def read_source(
    data: bytes | memoryview, specs: Iterable[OutputSpec], *, max_pixels: int = MAX_PIXELS
) -> SourceMetadata:
    """Read what these outputs need of a source's bytes, which `codec.decode` has accepted; nothing for the plain PNG.

    Never raises for damaged metadata, which counts as missing.
    """
    wanted = [spec for spec in specs if not spec.is_plain]
    if not wanted:
        return NO_METADATA
    content = bytes(data)
    dpi, exif = _described(content)
    deep = decode_deep(content, max_pixels=max_pixels) if any(spec.depth == 16 for spec in wanted) else None
    return SourceMetadata(dpi, exif, deep)


def _described(content: bytes) -> tuple[Dpi | None, Mapping[int, Any]]:
    """Read resolution and EXIF from a header."""
    try:
        format = identify(content)
        if format == "PNG":
            return _of_png(described_chunks(content))
        image = reader_of(format)(io.BytesIO(content))
        exif = image.getexif()
        return _resolution(image, exif), _directories(exif)
    except MemoryError:
        raise
    except Exception:  # parsers of untrusted data raise anything; without metadata, the picture is still usable
        return None, {}


def _of_png(chunks: Mapping[bytes, bytes]) -> tuple[Dpi | None, Mapping[int, Any]]:
    exif = Image.Exif()
    exif.load(chunks.get(b"eXIf", b""))
    density = chunks.get(b"pHYs", b"")
    if len(density) != 9 or density[8] != _PER_METRE:
        return None, _directories(exif)
    across, down = struct.unpack_from(">II", density)
    return _valid((across * _METRES_PER_INCH, down * _METRES_PER_INCH)), _directories(exif)


def _resolution(image: ImageFile, exif: Image.Exif) -> Dpi | None:
    """Return the resolution that the file states. For a JPEG that states none, Pillow makes up 72."""
    if image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit") and Base.XResolution not in exif:
        return None
    if "dpi" in image.info:
        return _valid(image.info["dpi"])
    unit = {2: 1.0, 3: 2.54}.get(exif.get(Base.ResolutionUnit, 2))
    if unit is None or Base.XResolution not in exif:
        return None
    across = exif[Base.XResolution]
    return _valid((across * unit, exif.get(Base.YResolution, across) * unit))


def _valid(dpi: tuple[Any, Any]) -> Dpi | None:
    across, down = float(dpi[0]), float(dpi[1])
    known = all(math.isfinite(dots) and 1 <= dots <= _MAX_DPI for dots in (across, down))
    return (across, down) if known else None


def _directories(exif: Image.Exif) -> dict[int, Any]:
    """Return the tags of the main directory, with the EXIF and GPS directories as mappings."""
    tags: dict[int, Any] = {tag: value for tag, value in exif.items() if tag not in (IFD.Exif, IFD.GPSInfo)}
    return tags | {ifd: dict(exif.get_ifd(ifd)) for ifd in (IFD.Exif, IFD.GPSInfo) if exif.get_ifd(ifd)}
