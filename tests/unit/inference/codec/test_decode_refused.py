"""Undecodable data is rejected with the right reason; nothing but a PictureError is ever raised."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from inference.codec import decode, probe
from inference.codec.header import jpeg_size
from inference.codec.png import SIGNATURE, chunk
from inference.errors import (
    NotAPicture,
    PictureError,
    PictureTooLarge,
    PictureTooLargeForDevice,
    TruncatedPicture,
    UnsupportedPicture,
)
from tests.equipment.encoded_pictures import FILES, PHOTO, far, noise, photo, saved, swapped_profile, with_orientation


def test_every_rejection_has_its_own_reason() -> None:
    kinds = (NotAPicture, TruncatedPicture, UnsupportedPicture, PictureTooLarge, PictureTooLargeForDevice)
    assert len({kind.reason for kind in kinds} | {PictureError.reason}) == 6


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"hello, world", b"BM and other words of text, long enough", b"RIFF\0\0\0\0WAVEfmt ", b"<svg/>"],
)
def test_data_in_no_picture_format_is_not_a_picture(data: bytes) -> None:
    for read in (decode, probe):
        with pytest.raises(NotAPicture) as caught:
            read(data)
        assert caught.value.reason == "not_a_picture"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"8BPS\0\x01", "Photoshop"),
        (b"\xff\x0a\0\0", "JPEG XL"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_unsupported_formats_are_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedPicture, match=f"{name}.*export"):
        decode(data)


def test_a_twelve_bit_jpeg_is_unsupported() -> None:
    data = bytearray(FILES["JPEG"])
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedPicture) as caught:
        decode(bytes(data))
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("name", FILES)
def test_a_shortened_file_is_truncated(name: str) -> None:
    data = FILES[name]
    for tenths in range(2, 10):
        with pytest.raises(PictureError) as caught:
            decode(data[: len(data) * tenths // 10])
        assert caught.value.reason == "truncated", (tenths, caught.value)


@pytest.mark.parametrize("name", ["JPEG", "JPEG progressive", "JPEG cmyk", "PNG", "WEBP", "WEBP lossy"])
def test_a_file_without_its_end_is_truncated(name: str) -> None:
    with pytest.raises(TruncatedPicture):
        decode(FILES[name][:-12])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    exif = b"Exif\0\0" + FILES["JPEG"]
    data = saved(PHOTO, "JPEG", exif=exif)
    assert decode(data).width == 96
    with pytest.raises(TruncatedPicture):
        decode(data[:-2])


def test_a_damaged_jpeg_is_rejected_instead_of_filled_with_grey() -> None:
    data = FILES["JPEG"]
    with pytest.raises(TruncatedPicture):
        decode(data[: len(data) * 2 // 3] + data[-2:])


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_are_ignored(name: str) -> None:
    assert np.array_equal(decode(FILES[name] + b"\0junk" * 9).pixels, decode(FILES[name]).pixels)


def test_stray_bytes_before_the_end_of_a_jpeg_are_ignored() -> None:
    data = FILES["JPEG"]
    assert far(decode(data[:-2] + b"\0\0\0" + data[-2:]).pixels, decode(data).pixels) <= 2


@pytest.mark.parametrize("name", FILES)
def test_the_limit_is_checked_against_the_header(name: str) -> None:
    data = FILES[name]
    assert decode(data, max_pixels=96 * 64).width == 96
    with pytest.raises(PictureTooLarge, match=r"96 x 64.*6,143.*--max-pixels") as caught:
        decode(data, max_pixels=96 * 64 - 1)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    "bomb",
    [
        SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b""),
        b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + b"," + struct.pack("<HHHHBB", 0, 0, 9, 9, 0, 2),
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2,
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
    ],
)
def test_a_decompression_bomb_is_rejected_by_its_header(bomb: bytes) -> None:
    assert probe(bomb).width >= 60000
    with pytest.raises(PictureTooLarge, match="--max-pixels"):
        decode(bomb)


def tiled(side: int) -> bytes:
    """A TIFF of 100 x 100 pixels in one deflated tile of `side` x `side`, all black."""
    squeeze = zlib.compressobj()
    data = b"".join(squeeze.compress(bytes(3 * side)) for _ in range(side)) + squeeze.flush()
    end = 8 + 2 + 11 * 12 + 4
    tags = {256: 100, 257: 100, 258: end, 259: 8, 262: 2, 277: 3, 284: 1, 322: side, 323: side, 324: end + 6}
    entries = [(tag, 3 if tag == 258 else 4, 3 if tag == 258 else 1, value) for tag, value in tags.items()]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in [*entries, (325, 4, 1, len(data))])
    head = b"II*\0" + struct.pack("<IH", 8, 11) + directory + bytes(4)
    return head + struct.pack("<HHH", 8, 8, 8) + data


def test_an_oversized_tile_behind_a_small_header_is_rejected() -> None:
    assert decode(tiled(512)).width == 100
    with pytest.raises(UnsupportedPicture, match="tiles of 5000 x 5000 pixels exceed"):
        decode(tiled(5000))


def test_a_jpeg_whose_many_scans_would_keep_a_core_busy_is_refused_before_it_is_decoded() -> None:
    data = FILES["JPEG progressive"]
    last = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnsupportedPicture, match="of more than 100 scans is not supported"):
        decode(data[:-2] + last * 10_000 + data[-2:])


def test_pillows_own_pixel_limit_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    for name in ("JPEG", "PNG", "BMP", "WEBP", "AVIF"):
        assert probe(FILES[name]).height == 64
        assert decode(FILES[name]).height == 64
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(PictureTooLarge):
        decode(FILES["TIFF"])


def test_pillows_global_settings_stay_strict() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# ---- anything at all ----

SMALL = photo(24, 16)
SEEDS = [saved(SMALL, name) for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")] + [
    saved(Image.fromarray(SMALL).convert("CMYK"), "JPEG"),
    saved(Image.fromarray(SMALL).convert("P"), "PNG", transparency=0),
    saved(SMALL, "TIFF", compression="tiff_lzw", exif=with_orientation(6)),
    saved(SMALL, "WEBP", lossless=True, exif=with_orientation(6)),
    saved(SMALL, "PNG", icc_profile=swapped_profile()),
    saved(noise(16, 24, 4), "TIFF", compression="tiff_adobe_deflate"),
]


@settings(max_examples=600, deadline=None)
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_damage_gives_a_picture_or_a_picture_error(seed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(seed)) | st.just(len(seed)))
    refusals: list[str] = []
    for read in (probe, decode, partial(decode, keep_truncated=True)):
        try:
            read(bytes(damaged[:cut]))
        except PictureError as error:
            refusals.append(str(error))
    assert all(refusals)


@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from([seed[:12] for seed in SEEDS]), junk=st.binary(max_size=200))
def test_junk_behind_a_signature_is_refused(head: bytes, junk: bytes) -> None:
    with pytest.raises(PictureError):
        decode(head + junk)


def test_the_size_of_a_jpeg_is_found_behind_any_segments() -> None:
    for name, data in FILES.items():
        if name.startswith("JPEG"):
            assert jpeg_size(data) == JpegImageFile(io.BytesIO(data)).size
            filled = data[:2] + b"\xff\xfe\x00\x06\xff\xc0ab" + b"\xff" + data[2:]
            assert jpeg_size(filled) == jpeg_size(data)


def test_a_jpeg_without_a_frame_has_no_size() -> None:
    data = FILES["JPEG"]
    frame = data.index(b"\xff\xc0")
    for end in range(2, frame + 9):
        assert jpeg_size(data[:end]) is None
    assert jpeg_size(data[:frame] + data[data.index(b"\xff\xda") :]) is None
