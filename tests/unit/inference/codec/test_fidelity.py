"""Pictures come out as their files mean them: colour, depth, polarity, the right page, the visible part."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inference.codec import decode, probe
from inference.codec.colour_space import ADOBE, BT709, SRGB, ColourSpace, icc_profile, of_code_points, of_gamma
from inference.codec.heif_boxes import Crop, primary_item
from inference.codec.png import chunk
from inference.codec.png_chunks import read_chunks
from inference.errors import PictureError, TruncatedPicture, UnsupportedPicture
from tests.equipment.encoded_pictures import far, noise, photo, saved
from tests.equipment.odd_files import (
    METADATA,
    avif,
    clapped,
    gama,
    grey_profile,
    heic,
    plain,
    tiff,
    tiff_of_12_bits,
    with_chunks,
)

TARGET = np.array([200, 120, 90])
"""The sRGB colour of most cases, computed by LittleCMS from published primaries."""
P3_CHROMATICITIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def test_a_colour_space_holds_for_grey_and_for_transparent_pixels() -> None:
    linear = of_gamma(1.0, None)
    grey = saved(Image.new("L", (8, 8), 55), "PNG")
    transparent = saved(Image.new("LA", (8, 8), (55, 255)), "PNG")
    rgba = saved(Image.new("RGBA", (8, 8), (147, 48, 26, 255)), "PNG")
    assert {tuple(decode(with_chunks(data, gama(1.0))).pixels[0, 0]) for data in (grey, transparent)} == {(128,) * 3}
    assert far(decode(with_chunks(rgba, gama(1.0))).pixels[0, 0], TARGET) <= 2
    assert linear.transfer == 1.0


def test_a_grey_profile_holds_beside_alpha() -> None:
    profile = grey_profile(gamma=1.0)
    for image in (Image.new("L", (8, 8), 55), Image.new("LA", (8, 8), (55, 255))):
        assert far(decode(saved(image, "PNG", icc_profile=profile)).pixels[0, 0], np.array([128] * 3)) <= 1


def test_an_rgb_profile_holds_for_a_grey_jpeg() -> None:
    data = saved(Image.new("L", (16, 16), 55), "JPEG", quality=100, icc_profile=icc_profile(ColourSpace(BT709, 1.0)))
    assert far(decode(data).pixels[0, 0], np.array([128] * 3)) <= 1


@pytest.mark.parametrize(("primaries", "transfer", "name"), [(9, 16, "PQ"), (9, 18, "HLG"), (12, 16, "PQ")])
def test_hdr_is_refused_by_name(primaries: int, transfer: int, name: str) -> None:
    png = with_chunks(saved(plain(1, 2, 3), "PNG"), chunk(b"cICP", bytes([primaries, transfer, 0, 1])))
    for data in (png, avif(plain(1, 2, 3), primaries, transfer)):
        with pytest.raises(UnsupportedPicture, match=name):
            decode(data)


def test_our_profiles_say_what_their_space_says() -> None:
    for space, pixel in ((ADOBE, (180, 119, 91)), (of_code_points(12, 13), (189, 124, 96)), (SRGB, tuple(TARGET))):
        to_srgb = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc_profile(space))), ImageCms.createProfile("sRGB"), "RGB", "RGB"
        )
        converted = ImageCms.applyTransform(plain(*pixel), to_srgb)
        assert converted is not None
        assert far(np.asarray(converted)[0, 0], TARGET) <= 1


# Depth, sign and polarity.


def test_twelve_bit_grey_is_scaled_by_twelve_bits() -> None:
    data = tiff_of_12_bits(np.full((8, 8), 2048, np.uint16))
    assert far(decode(data).pixels[0, 0], np.array([128] * 3)) <= 1


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_where_white_is_zero_is_turned_over(kind: type[np.generic]) -> None:
    full = 65535 if kind is np.uint16 else 1.0
    grey = np.broadcast_to(np.array([107, 255], np.float64) / 255 * full, (8, 2)).astype(kind)
    pixels = decode(tiff((grey, {"photometric": "miniswhite"}))).pixels
    assert far(pixels[0, 0], np.array([148] * 3)) <= 1
    assert not pixels[0, 1].any()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_is_exact(order: Literal["<", ">"]) -> None:
    values = (photo()[..., 0].astype(np.uint16) * 257).astype(f"{order}u2")
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="minisblack", byteorder=order)
    assert np.array_equal(decode(file.getvalue()).pixels[..., 0], photo()[..., 0])


def test_the_bright_half_of_unsigned_32_bits_is_bright() -> None:
    grey = photo()[..., 0]
    values = (grey / 255 * (2**32 - 1)).astype(np.uint32)
    assert far(decode(tiff((values, {"photometric": "minisblack"}))).pixels[..., 0], grey) <= 1


# Metadata that is not needed to read the pixels.


@pytest.mark.parametrize("name", METADATA)
def test_metadata_is_no_reason_to_refuse_sound_pixels(name: str) -> None:
    data = with_chunks(saved(photo(), "PNG"), METADATA[name])
    assert np.array_equal(decode(data).pixels, photo())
    assert (probe(data).width, probe(data).height) == (96, 64)


def test_metadata_behind_the_pixels_does_no_harm_either() -> None:
    data = saved(photo(), "PNG")
    assert np.array_equal(decode(data[:-12] + b"".join(METADATA.values()) + data[-12:]).pixels, photo())


def test_damage_in_what_the_pixels_need_is_still_damage() -> None:
    data = bytearray(saved(noise(64, 64, 3), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(TruncatedPicture):
        decode(bytes(data))


def test_a_png_without_metadata_is_not_copied() -> None:
    data = saved(photo(), "PNG")
    assert read_chunks(data).data is data


@pytest.mark.parametrize("tag", [b"eXIf", b"zTXt", b"iTXt"])
def test_the_orientation_of_a_png_is_found_wherever_it_stands(tag: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    if tag == b"eXIf":
        extra = chunk(tag, raw.removeprefix(b"Exif\0\0"))
    elif tag == b"zTXt":
        text = b"\nexif\n" + f"{len(raw):8}".encode() + b"\n" + raw.hex().encode() + b"\n"
        extra = chunk(tag, b"Raw profile type exif\0\0" + zlib.compress(text))
    else:
        extra = chunk(tag, b'XML:com.adobe.xmp\0\0\0\0\0<rdf tiff:Orientation="6"/>')
    assert decode(with_chunks(saved(photo(), "PNG"), extra)).pixels.shape == (96, 64, 3)


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


SEGMENTS = {
    "JFIF": (0xE0, b"JFIF\0"),
    "Photoshop": (0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed"),
    "ICC": (0xE2, b"ICC_PROFILE\0"),
    "MPF": (0xE2, b"MPF\0II*\0"),
    "Adobe": (0xEE, b"Adobe"),
    "EXIF": (0xE1, b"Exif\0\0II*\0"),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("more", range(0, 24, 3))
def test_damaged_segments_are_no_reason_to_refuse_a_jpeg(name: str, more: int) -> None:
    kind, head = SEGMENTS[name]
    data = saved(photo(), "JPEG", quality=95)
    broken = data[:2] + segment(kind, head + b"\0" * more) + data[2:]
    assert far(decode(broken).pixels, decode(data).pixels) <= 1


def test_a_jpeg_keeps_its_orientation_and_profile_beside_a_damaged_segment() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(plain(180, 119, 91, size=32), "JPEG", quality=100, exif=exif, icc_profile=icc_profile(ADOBE))
    broken = data[:2] + segment(0xED, SEGMENTS["Photoshop"][1]) + data[2:]
    assert far(decode(broken).pixels[0, 0], TARGET) <= 2
    wide = saved(photo(), "JPEG", exif=exif)
    assert decode(wide[:2] + segment(0xED, SEGMENTS["Photoshop"][1]) + wide[2:]).pixels.shape == (96, 64, 3)


# Which picture the container means.


def test_a_thumbnail_page_is_passed_over() -> None:
    small, mask, large = photo(24, 16), np.zeros((64, 96), bool), photo()
    thumbnail: tuple[NDArray[Any], dict[str, Any]] = (small, {"photometric": "rgb", "subfiletype": 1})
    data = tiff(thumbnail, (mask, {"subfiletype": 4}), (large, {"photometric": "rgb"}))
    assert np.array_equal(decode(data).pixels, large)
    assert (probe(data).width, probe(data).height) == (96, 64)


def test_of_several_full_pages_the_first_is_taken() -> None:
    first, second = photo(), photo()[::-1].copy()
    assert np.array_equal(decode(tiff((first, {"photometric": "rgb"}), (second, {"photometric": "rgb"}))).pixels, first)


def test_a_thumbnail_alone_is_never_published() -> None:
    with pytest.raises(UnsupportedPicture, match="thumbnail"):
        decode(tiff((photo(24, 16), {"photometric": "rgb", "subfiletype": 1})))


def test_a_clean_aperture_is_applied() -> None:
    image = Image.fromarray(photo(96, 64))
    data = clapped(avif(image), (40, 1, 20, 1, 8, 1, -4, 1))
    assert primary_item(data).crop(96, 64) == Crop(36, 18, 76, 38)
    whole = decode(avif(image)).pixels
    assert np.array_equal(decode(data).pixels, whole[18:38, 36:76])


@pytest.mark.parametrize(
    "numbers", [(96, 1, 64, 1, 0, 1, 0, 1), (200, 1, 64, 1, 0, 1, 0, 1), (40, 0, 20, 1, 0, 1, 0, 1)]
)
def test_an_aperture_of_everything_or_of_nonsense_changes_nothing(numbers: tuple[int, ...]) -> None:
    data = avif(Image.fromarray(photo(96, 64)))
    assert np.array_equal(decode(clapped(data, numbers)).pixels, decode(data).pixels)


# Variants that are not read are called by their names.


def recompressed(number: int) -> bytes:
    """A TIFF whose compression tag has another number."""
    data = tiff((photo(), {"photometric": "rgb"}))
    at = data.index(struct.pack("<HHI", 259, 3, 1))
    return data[: at + 8] + struct.pack("<H", number) + data[at + 10 :]


UNREAD: dict[str, Callable[[], bytes]] = {
    "WebP": lambda: recompressed(50001),
    "JPEG XL": lambda: recompressed(50002),
    "JPEG 2000": lambda: recompressed(34712),
    "number 4711": lambda: recompressed(4711),
    "CMYK with 5 channels of 8 bits": lambda: tiff(
        (np.zeros((8, 8, 5), np.uint8), {"photometric": "separated", "extrasamples": ["unassalpha"]})
    ),
    "CIELAB with 3 channels of 16 bits": lambda: tiff((np.zeros((8, 8, 3), np.uint16), {"photometric": "cielab"})),
    "RGB with 3 channels of 32 bits, floating point": lambda: tiff(
        (np.zeros((8, 8, 3), np.float32), {"photometric": "rgb"})
    ),
    "grey with 1 channels of 64 bits, floating point": lambda: tiff(
        (np.zeros((8, 8), np.float64), {"photometric": "minisblack"})
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_tiff_that_is_not_read_is_named(name: str) -> None:
    with pytest.raises(UnsupportedPicture, match=name):
        decode(UNREAD[name]())


def test_a_damaged_tiff_is_still_called_damaged() -> None:
    data = saved(noise(64, 64, 3), "TIFF", compression="tiff_lzw")
    with pytest.raises(TruncatedPicture):
        decode(data[: len(data) // 2])


# HEIC, by a package of its own.


def test_a_heic_is_read() -> None:
    data = heic(Image.fromarray(photo()))
    assert far(decode(data).pixels, photo()) <= 12
    assert (probe(data).format, probe(data).width, probe(data).height) == ("HEIC", 96, 64)


def test_a_heics_profile_and_its_colour_space_hold() -> None:
    image = plain(189, 124, 96, size=64)
    image.info["icc_profile"] = icc_profile(of_code_points(12, 13))
    assert far(decode(heic(image)).pixels[8, 8], TARGET) <= 3
    stated = bytearray(heic(plain(189, 124, 96, size=64)))
    at = stated.index(b"colrnclx") + 8
    stated[at : at + 4] = struct.pack(">HH", 12, 13)
    assert far(decode(bytes(stated)).pixels[8, 8], TARGET) <= 3


def test_a_heic_is_turned_upright_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(heic(Image.fromarray(photo()), exif=exif.tobytes())).pixels.shape == (96, 64, 3)


def test_a_heic_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedPicture, match=r"alphadrop\[heic\]"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_a_damaged_heic_is_a_picture_error() -> None:
    data = heic(Image.fromarray(photo()))
    for cut in range(24, len(data), len(data) // 40):
        with pytest.raises(PictureError):
            decode(data[:cut])
