"""Decoding gives the right pixels for every kind of file."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from inference.codec import decode, probe
from inference.codec.png import END, SIGNATURE, chunk
from tests.equipment.encoded_pictures import (
    FILES,
    IMAGE,
    LOSSLESS,
    PHOTO,
    far,
    saved,
    swapped_profile,
    with_orientation,
)


def raw_png(rows: NDArray[Any], depth: int, colour: int, *extra: bytes) -> bytes:
    """A PNG of H x W (x C) samples as they are, for what Pillow does not write."""
    height, width = rows.shape[:2]
    samples = rows.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples))
    size = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return SIGNATURE + b"".join((chunk(b"IHDR", size), *extra, chunk(b"IDAT", packed))) + END


# ---- formats ----


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_decode_exactly(name: str) -> None:
    picture = decode(FILES[name])
    assert np.array_equal(picture.pixels, PHOTO)
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable


@pytest.mark.parametrize("name", FILES)
def test_every_format_decodes_about_right_and_probes_exactly(name: str) -> None:
    picture, info = decode(memoryview(FILES[name])), probe(memoryview(FILES[name]))
    assert (picture.width, picture.height) == (info.width, info.height) == (96, 64)
    assert info.format == name.split()[0]
    assert np.abs(picture.pixels.astype(int) - PHOTO).mean() < 12


@pytest.mark.parametrize("chunk_kind", [{}, {"lossless": True}, {"lossless": True, "exif": b"Exif\0\0"}])
@pytest.mark.parametrize("size", [(1, 1), (255, 257), (1, 4097)])
def test_a_webps_size_is_read_from_each_kind_of_header(chunk_kind: dict[str, Any], size: tuple[int, int]) -> None:
    info = probe(saved(Image.new("RGB", size), "WEBP", **chunk_kind))
    assert (info.width, info.height) == size


def test_jpeg_agrees_with_pillow_within_rounding() -> None:
    for subsampling in (0, 1, 2):
        data = saved(PHOTO, "JPEG", subsampling=subsampling)
        assert far(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)))) <= 2


def test_extra_frames_are_ignored() -> None:
    other = Image.fromarray(255 - PHOTO)
    for name in ("PNG", "WEBP", "TIFF", "GIF"):
        options = LOSSLESS.get(name, {})
        data = saved(PHOTO, name, save_all=True, append_images=[other], **options)
        single = decode(saved(PHOTO, name, **options))
        assert far(decode(data).pixels, single.pixels) == 0, name
    mpo = decode(saved(PHOTO, "MPO", save_all=True, append_images=[other], quality=95))
    assert np.abs(mpo.pixels.astype(int) - PHOTO).mean() < 3


# ---- orientation ----


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_is_turned_upright(name: str) -> None:
    # Sides of a multiple of 16, so that the block grids of a lossy format agree in every orientation.
    options = {"quality": 100, "subsampling": 0} if name == "JPEG" else LOSSLESS.get(name, {"quality": 100})
    for value in range(1, 9):
        data = saved(PHOTO, name, exif=with_orientation(value), **options)
        upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        picture = decode(data)
        assert picture.pixels.flags.c_contiguous
        assert (picture.height > picture.width) == (value >= 5), value
        assert far(picture.pixels, upright) <= 2, value


# ---- four bytes a pixel ----


def test_a_jpeg_decodes_to_four_bytes_a_pixel_in_every_orientation() -> None:
    for value in range(1, 9):
        data = saved(PHOTO, "JPEG", exif=with_orientation(value))
        picture, plain = decode(data, rgbx=True), decode(data)
        assert picture.rgbx is not None and picture.rgbx.flags.c_contiguous and picture.rgbx.flags.writeable
        assert np.shares_memory(picture.pixels, picture.rgbx)
        assert np.array_equal(picture.pixels, picture.rgbx[..., :3])
        assert far(picture.pixels, plain.pixels) == 0, value


@pytest.mark.parametrize("name", [*LOSSLESS, "JPEG of a printer", "grey JPEG", "JPEG with a profile"])
def test_what_is_converted_has_three_bytes_a_pixel_though_four_are_wanted(name: str) -> None:
    others = {
        "JPEG of a printer": saved(IMAGE.convert("CMYK"), "JPEG"),
        "grey JPEG": saved(IMAGE.convert("L"), "JPEG"),
        "JPEG with a profile": saved(PHOTO, "JPEG", icc_profile=swapped_profile()),
    }
    data = others.get(name) or FILES[name]
    picture = decode(data, rgbx=True)
    assert picture.rgbx is None
    assert np.array_equal(picture.pixels, decode(data).pixels)


# ---- metadata ----


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_ignored() -> None:
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0junk", b"Exif\0\0", with_orientation(9).tobytes()):
        assert np.array_equal(decode(saved(PHOTO, "PNG", exif=exif)).pixels, PHOTO)
        assert decode(saved(PHOTO, "JPEG", exif=exif)).width == 96


# ---- modes and colours ----


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBX"])
def test_opaque_modes_become_rgb(mode: str) -> None:
    image = IMAGE.convert(mode)
    decoded = decode(saved(image, "TIFF")).pixels
    assert far(decoded, np.asarray(image.convert("RGB"))) <= 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_that_are_not_rgb_become_rgb(mode: str) -> None:
    data = saved(IMAGE.convert(mode), "JPEG", quality=95)
    assert far(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) <= 1
    assert decode(data).pixels[0, 0].max() < 170 < decode(data).pixels[-1, -1].max()


def test_transparency_of_any_kind_is_flattened_on_white() -> None:
    rgba = np.dstack([PHOTO, np.full((64, 96), 255, np.uint8)])
    rgba[:32, :, 3] = 0
    palette = Image.fromarray(rgba).quantize(16)
    files = [saved(rgba, name, **LOSSLESS[name]) for name in ("PNG", "WEBP", "TIFF")]
    files += [saved(palette, "PNG"), saved(Image.fromarray(rgba).convert("LA"), "PNG"), saved(rgba, "GIF")]
    for data in files:
        pixels = decode(data).pixels
        assert (pixels[:32] == 255).all()
        assert not (pixels[32:] == 255).all()


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF"])
def test_a_pictures_own_alpha_is_kept_beside_its_flattened_colours(name: str) -> None:
    rgba = np.dstack([PHOTO, np.full((64, 96), 255, np.uint8)])
    assert decode(saved(rgba, name, **LOSSLESS[name])).rgba is None, "every pixel is opaque"
    rgba[:32, :, 3] = 128
    options = LOSSLESS[name] | ({"exact": True} if name == "WEBP" else {})
    kept = decode(saved(rgba, name, **options, exif=with_orientation(6))).rgba
    assert kept is not None
    assert np.array_equal(kept, np.rot90(rgba, -1))


def test_half_transparent_is_half_white() -> None:
    pixels = decode(saved(np.full((2, 2, 4), (200, 100, 0, 128), np.uint8), "PNG")).pixels
    assert far(pixels[0, 0], np.array([227, 177, 127])) <= 1


def test_a_colour_key_is_flattened_on_white() -> None:
    keyed = PHOTO.copy()
    keyed[:8] = (1, 2, 3)
    assert (decode(saved(keyed, "PNG", transparency=(1, 2, 3))).pixels[:8] == 255).all()
    grey = keyed[..., 0]
    assert (decode(saved(grey, "PNG", transparency=1)).pixels[:8] == 255).all()
    deep = grey.astype(np.uint16) * 257
    assert (decode(raw_png(deep, 16, 0, chunk(b"tRNS", struct.pack(">H", 257)))).pixels[:8] == 255).all()


def test_deep_colour_with_a_colour_key_decodes() -> None:
    deep = PHOTO.astype(np.uint16) * 257
    data = raw_png(deep, 16, 2, chunk(b"tRNS", struct.pack(">HHH", 300, 3000, 30000)))
    assert far(decode(data).pixels, PHOTO) <= 1


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_sixteen_bit_grey_is_scaled_exactly(byte_order: str) -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(every / 257).astype(np.uint8)
    image = Image.fromarray(every.astype(byte_order))
    for data in (saved(image, "TIFF"), raw_png(every, 16, 0)):
        assert np.array_equal(decode(data).pixels, np.dstack([expected] * 3))


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_other_sixteen_bit_pngs_are_scaled(colour: int) -> None:
    channels = {2: PHOTO, 4: PHOTO[..., :1], 6: PHOTO}[colour]
    samples = channels if colour == 2 else np.dstack([channels, np.full((64, 96), 255, np.uint8)])
    assert far(decode(raw_png(samples.astype(np.uint16) * 257, 16, colour)).pixels, channels) <= 1


@pytest.mark.parametrize("full", [1.0, 255.0, 65535.0])
def test_numbers_without_a_stated_range_are_scaled_by_their_peak(full: float) -> None:
    grey = PHOTO[..., 0]
    values = (grey / 255 * full).astype(np.float32)
    assert far(decode(saved(values, "TIFF")).pixels[..., 0], grey) <= 1
    if full > 1:
        assert far(decode(saved(np.rint(values).astype(np.int32), "TIFF")).pixels[..., 0], grey) <= 1


def test_negative_and_non_finite_numbers_become_black() -> None:
    values = np.array([[np.nan, -5, np.inf, 1e30, 0]], np.float32)
    assert decode(saved(values, "TIFF")).pixels[0, :, 0].tolist() == [0, 0, 0, 255, 0]
    assert not decode(saved(np.zeros((3, 3), np.float32), "TIFF")).pixels.any()


def test_an_srgb_profile_changes_nothing() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("PNG", "TIFF"):
        assert np.array_equal(decode(saved(PHOTO, name, icc_profile=icc)).pixels, PHOTO)
    plain, tagged = (decode(saved(PHOTO, "JPEG", icc_profile=profile)).pixels for profile in (None, icc))
    assert np.array_equal(plain, tagged)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_another_profile_is_converted(name: str) -> None:
    primaries = np.zeros((16, 16, 3), np.uint8)
    primaries[..., 0] = 255
    pixels = decode(saved(primaries, name, icc_profile=swapped_profile())).pixels
    assert far(pixels[8, 8], np.array([0, 0, 255])) <= 6


def test_a_profile_of_a_transparent_picture_is_converted_too() -> None:
    red = np.full((4, 4, 4), (255, 0, 0, 255), np.uint8)
    red[0, 0, 3] = 0
    pixels = decode(saved(red, "PNG", icc_profile=swapped_profile())).pixels
    assert far(pixels[1, 1], np.array([0, 0, 255])) <= 6
    assert (pixels[0, 0] == 255).all()


@pytest.mark.parametrize("icc", [b"junk", b"\0" * 200, swapped_profile()])
def test_an_unusable_profile_is_ignored(icc: bytes) -> None:
    grey = PHOTO[..., 0]
    for name in ("PNG", "TIFF", "JPEG"):
        assert far(decode(saved(grey, name, icc_profile=icc)).pixels[..., 1], grey) <= 8
