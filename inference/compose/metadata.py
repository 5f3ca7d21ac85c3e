"""What an output's file says besides its pixels: text, resolution, colour profile and EXIF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from inference.codec.colour_space import srgb_profile
from inference.compose.source import SourceMetadata
from inference.compose.spec import OutputSpec
from inference.compose.text import xmp_packet

_RIGHTS = (Base.Artist, Base.Copyright)
_DESCRIPTION = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.HostComputer,
    Base.Rating,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
)
_STALE = frozenset({Base.MakerNote, Base.ExifInteroperabilityOffset, Base.ExifImageWidth, Base.ExifImageHeight})
"""Tags of the EXIF directory that are wrong for an output, or cannot be moved: a maker note contains file offsets."""
_SRGB_COLOUR_SPACE = 1
_INCH = 2
MAX_EXIF = 4096
"""Longest EXIF in bytes that is carried over, so that an output's text stays within TEXT_BYTES."""


@dataclass(frozen=True, eq=False)
class OutputMetadata:
    """The metadata of one output."""

    text: Mapping[str, str]
    dpi: tuple[float, float] | None
    """Horizontal and vertical resolution in dots per inch."""
    tags: Mapping[int, Any]
    """The EXIF tags that are carried over, by number; the EXIF and GPS directories are mappings. Texts are bytes where
    they are not ASCII, which Pillow would replace by question marks."""
    icc: bytes
    """The sRGB profile; empty if the output embeds none."""

    @cached_property
    def xmp(self) -> bytes:
        """The text as an XMP packet; empty without text."""
        return xmp_packet(self.text)

    @cached_property
    def exif(self) -> bytes:
        """The carried tags and the resolution with an `Exif` header; empty if there are neither."""
        return _packed(dict(self.tags) | resolution_tags(self.dpi))


def output_metadata(spec: OutputSpec, source: SourceMetadata, text: Mapping[str, str]) -> OutputMetadata:
    """Choose what an output records. EXIF that is too long or malformed is reduced to the rights, or dropped."""
    dpi = (float(spec.dpi), float(spec.dpi)) if spec.dpi else source.dpi
    tags: dict[int, Any] = {}
    if spec.carried_exif != "none":
        rights: dict[int, Any] = {tag: source.exif[tag] for tag in _RIGHTS if tag in source.exif}
        choices = (_everything(source.exif, spec.gps), rights) if spec.carried_exif == "all" else (rights,)
        tags = next((_unchanged(choice) for choice in choices if _is_writable(choice)), {})
    return OutputMetadata(text, dpi, tags, srgb_profile() if spec.icc else b"")


def resolution_tags(dpi: tuple[float, float] | None) -> dict[int, Any]:
    """Return the TIFF tags of a resolution in dots per inch."""
    if dpi is None:
        return {}
    return {Base.XResolution: dpi[0], Base.YResolution: dpi[1], Base.ResolutionUnit: _INCH}


def _everything(exif: Mapping[int, Any], with_place: bool) -> dict[int, Any]:
    tags: dict[int, Any] = {tag: exif[tag] for tag in (*_DESCRIPTION, *_RIGHTS) if tag in exif}
    details = exif.get(IFD.Exif)
    if isinstance(details, Mapping):
        kept = {tag: value for tag, value in details.items() if tag not in _STALE}
        tags[IFD.Exif] = kept | {Base.ColorSpace: _SRGB_COLOUR_SPACE}
    place = exif.get(IFD.GPSInfo)
    if with_place and isinstance(place, Mapping):
        tags[IFD.GPSInfo] = dict(place)
    return tags


def _unchanged(tags: Mapping[int, Any]) -> dict[int, Any]:
    """Return the tags with texts as the source's own bytes, which Pillow decodes as Latin-1, whatever they are."""
    return {tag: _text(value) for tag, value in tags.items()}


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _unchanged(value)
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _is_writable(tags: Mapping[int, Any]) -> bool:
    try:
        return len(_packed(tags)) <= MAX_EXIF
    except Exception:  # values of damaged files can be of any type, and Pillow raises whatever its packing raises
        return False


def _packed(tags: Mapping[int, Any]) -> bytes:
    if not tags:
        return b""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()
