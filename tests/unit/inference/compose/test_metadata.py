"""What an output says of itself, and what it carries over from its source."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from inference.codec.png import chunk, encode_png_of_any_depth
from inference.compose import NO_METADATA, PLAIN, TEXT_BYTES, OutputSpec, SourceMetadata, read_source, read_text
from inference.compose.text import xmp_packet
from inference.compose.values import Format
from tests.equipment.composing import TEXT, disc, made
from tests.equipment.encoded_pictures import noise, saved

SPECS = [OutputSpec(format=format, background="white") for format in Format]
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=100)


def exif_of(**tags: Any) -> Image.Exif:
    """EXIF of a camera: upright by a tag, with a place, a maker note and Adobe RGB."""
    exif = Image.Exif()
    exif[Base.Orientation], exif[Base.Make], exif[Base.XResolution] = 6, "Camera & Sons", 240.0
    exif[Base.YResolution], exif[Base.ResolutionUnit] = 240.0, 2
    exif[Base.Copyright], exif[Base.Artist] = b"\xc2\xa9 2026 K\xc3\xa4se", "Ann Artist"
    exif[IFD.Exif] = {
        Base.DateTimeOriginal: "2026:11:28 10:00:00",
        Base.ColorSpace: 0xFFFF,
        Base.MakerNote: b"\1\2\3",
        Base.ExifImageWidth: 4000,
        Base.FNumber: 2.8,
    }
    exif[IFD.GPSInfo] = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (52.0, 31.0, 12.0)}
    for name, value in tags.items():
        exif[Base[name]] = value
    return exif


def photo(format: str = "JPEG", **options: Any) -> bytes:
    exif = exif_of()
    if format == "TIFF":  # whose writer wants EXIF that was read from a file
        exif = Image.Exif()
        exif.load(exif_of().tobytes())
    return saved(noise(20, 30, 3), format, **({"exif": exif} | options))


def exif_in(data: bytes) -> Image.Exif:
    return Image.open(io.BytesIO(data)).getexif()


@pytest.mark.parametrize("spec", [*SPECS, OutputSpec(format=Format.WEBP, lossless=True), PLAIN], ids=str)
def test_the_text_reads_back_from_both_ends_of_the_file(spec: OutputSpec):
    options = spec.changes()
    data = made(disc(300, 300, 120), text=TEXT, **options).data
    assert read_text(data) == TEXT
    assert read_text(data[:TEXT_BYTES] + data[-TEXT_BYTES:]) == TEXT
    assert read_text(made(disc(), **options).data) == {}


@given(st.dictionaries(st.from_regex(r"alphadrop:[a-z_]{1,20}", fullmatch=True), VALUES, max_size=3))
def test_any_text_survives_xmp(text: dict[str, str]):
    assert read_text(b"II*\0" + xmp_packet(text) + b"pixels") == text


def test_a_text_that_cannot_be_recorded_is_refused():
    for text, message in (
        ({"alphadrop:job": "x" * 9000}, "the limit is 8192; shorten it"),
        ({"job": "1"}, "alphadrop:NAME"),
    ):
        with pytest.raises(ValueError, match=message):
            made(disc(), text=text, format="webp")


def test_text_is_never_read_from_other_files_and_never_raises():
    assert read_text(b"") == {}
    assert read_text(photo()) == {}
    assert read_text(noise(5000).tobytes()) == {}
    foreign = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a b="c" xmp:job="1"/></x:xmpmeta>'
    assert read_text(saved(noise(9, 9, 3), "WEBP", xmp=foreign)) == {}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.format))
def test_rights_are_kept_and_nothing_else(spec: OutputSpec):
    source = read_source(photo(), [spec])
    data = made(disc(), source, **spec.changes() | {"exif": "rights"}).data
    exif = exif_in(data)
    assert exif[Base.Copyright].encode("latin-1").decode() == "© 2026 Käse"
    assert exif[Base.Artist] == "Ann Artist"
    assert not {Base.Orientation, Base.Make, IFD.Exif, IFD.GPSInfo} & set(exif)
    silent = made(disc(), source, **spec.changes() | {"exif": "none"}).data
    assert not {Base.Copyright, Base.Artist} & set(exif_in(silent))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.format))
def test_all_exif_leaves_out_what_is_wrong_or_private(spec: OutputSpec):
    source = read_source(photo(), [spec])
    exif = exif_in(made(disc(), source, **spec.changes() | {"exif": "all"}).data)
    details = exif.get_ifd(IFD.Exif)
    assert exif[Base.Make] == "Camera & Sons" and Base.Orientation not in exif
    assert details[Base.DateTimeOriginal] == "2026:11:28 10:00:00" and float(details[Base.FNumber]) == 2.8
    assert details[Base.ColorSpace] == 1, "the colours are sRGB now"
    assert not {Base.MakerNote, Base.ExifImageWidth} & set(details)
    assert not exif.get_ifd(IFD.GPSInfo)
    placed = exif_in(made(disc(), source, **spec.changes() | {"exif": "all", "gps": True}).data)
    assert placed.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (52.0, 31.0, 12.0)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_source_may_have_any_format(format: str):
    source = read_source(photo(format), SPECS)
    assert source.exif[Base.Artist] == "Ann Artist"
    assert source.exif[IFD.Exif][Base.DateTimeOriginal] == "2026:11:28 10:00:00"
    if format in ("JPEG", "TIFF"):
        assert source.dpi == (240.0, 240.0)


@pytest.mark.parametrize(
    ("data", "dpi"),
    [
        (saved(noise(9, 9, 3), "JPEG", dpi=(300, 150)), (300.0, 150.0)),
        (saved(noise(9, 9, 3), "JPEG"), None),
        (saved(noise(9, 9, 3), "JPEG", exif=Image.Exif()), None),
        (saved(noise(9, 9, 3), "JPEG", exif=exif_of(XResolution=118.11, ResolutionUnit=3)), (300.0, 300.0)),
        (saved(noise(9, 9, 3), "PNG", dpi=(300, 300)), (300.0, 300.0)),
        (saved(noise(9, 9, 3), "PNG"), None),
        (encode_png_of_any_depth(noise(9, 9, 3), chunks=[chunk(b"pHYs", b"\0\0\0\1\0\0\0\1\0")]), None),
        (saved(noise(9, 9, 3), "TIFF", dpi=(400, 400)), (400.0, 400.0)),
        (saved(noise(9, 9, 3), "BMP", dpi=(200, 200)), (200.0, 200.0)),
        (saved(noise(9, 9, 3), "WEBP", exif=exif_of()), (240.0, 240.0)),
        (b"Dear all", None),
    ],
)
def test_the_resolution_is_what_the_file_states(data: bytes, dpi: tuple[float, float] | None):
    source = read_source(data, SPECS)
    assert source.dpi == (None if dpi is None else pytest.approx(dpi, abs=0.6))


def test_the_plain_png_asks_nothing_of_its_source():
    assert read_source(photo(), [PLAIN, PLAIN]) is NO_METADATA
    rich = SourceMetadata(dpi=(300.0, 300.0), exif={Base.Copyright: "me"})
    assert made(disc(), rich).data == made(disc()).data


@pytest.mark.parametrize(
    "exif",
    [
        {Base.Copyright: "x" * 70_000},
        {Base.Copyright: object()},
        {Base.Artist: ("a", 1, None)},
        {IFD.Exif: {Base.FNumber: "wide"}, Base.Artist: "Ann"},
        {IFD.Exif: {Base.UserComment: b"x" * 70_000}, Base.Artist: "Ann"},
    ],
)
def test_exif_that_cannot_be_written_is_dropped(exif: dict[int, Any]):
    for spec in SPECS:
        data = made(disc(), SourceMetadata(exif=exif), **spec.changes() | {"exif": "all"}).data
        assert exif_in(data).get(Base.Artist) in (None, "Ann")
        assert np.asarray(Image.open(io.BytesIO(data))).shape == (90, 120, 3)


def test_damaged_exif_counts_as_none():
    damaged = saved(noise(9, 9, 3), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_source(damaged, SPECS).exif == {}


def test_the_profile_is_left_out_where_it_is_not_wanted():
    for format in (Format.JPEG, Format.WEBP, Format.TIFF, Format.AVIF):
        for wanted in (True, False):
            data = made(disc(), format=format, background="white", icc=wanted).data
            assert bool(Image.open(io.BytesIO(data)).info.get("icc_profile")) == wanted


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_damaged_sources_never_stop_an_output(format: str):
    random, original = np.random.default_rng(7), photo(format)
    for _ in range(40):
        data = bytearray(original)
        for place in random.integers(0, len(data), 4):
            data[place : place + int(random.integers(0, 3))] = random.bytes(int(random.integers(0, 4)))
        source = read_source(bytes(data), SPECS)
        assert isinstance(read_text(bytes(data)), dict)
        if source.exif or source.dpi:
            for name in ("jpeg", "tiff"):
                assert made(disc(9, 9, 3), source, format=name, background="white", exif="all", gps=True).data
