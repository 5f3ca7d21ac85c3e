"""Truncated files: refused by default; with `keep_truncated`, what is there is the same as in the complete file."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from inference.codec import decode
from inference.codec.png import SIGNATURE, chunk
from inference.errors import PictureTooLarge, TruncatedPicture
from tests.equipment.encoded_pictures import far, noise, saved, with_orientation

SMOOTH = np.asarray(Image.fromarray(noise(8, 12, 3)).resize((192, 128), Image.Resampling.BICUBIC))
"""Detail everywhere, so that every part of a file holds a part of the picture."""
IMAGE = Image.fromarray(SMOOTH)
KEPT: dict[str, tuple[bytes, int]] = {
    "JPEG": (saved(IMAGE, "JPEG", quality=95), 2),
    "JPEG progressive": (saved(IMAGE, "JPEG", quality=95, progressive=True), 16),
    "JPEG grey": (saved(IMAGE.convert("L"), "JPEG", quality=95), 2),
    "JPEG cmyk": (saved(IMAGE.convert("CMYK"), "JPEG", quality=95), 2),
    "PNG": (saved(IMAGE, "PNG"), 0),
    "PNG palette": (saved(IMAGE.quantize(64), "PNG"), 0),
    "PNG of 16 bits": (saved(Image.fromarray(SMOOTH[..., 0].astype(np.uint16) * 257), "PNG"), 0),
    "PNG with alpha": (saved(IMAGE.convert("RGBA"), "PNG"), 0),
    "TIFF": (saved(IMAGE, "TIFF"), 0),
    "TIFF of grey": (saved(IMAGE.convert("L"), "TIFF"), 0),
}
"""Files, and how far a colour may be from that of the complete file."""
REFUSED: dict[str, bytes] = {
    "PNG interlaced": saved(IMAGE, "PNG")[:28] + b"\1" + saved(IMAGE, "PNG")[29:],
    "TIFF lzw": saved(IMAGE, "TIFF", compression="tiff_lzw"),
    "WEBP": saved(IMAGE, "WEBP", lossless=True),
    "WEBP lossy": saved(IMAGE, "WEBP", quality=95),
    "AVIF": saved(IMAGE, "AVIF", quality=95),
    "GIF": saved(IMAGE, "GIF"),
    "BMP": saved(IMAGE, "BMP"),
}


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("name", KEPT)
def test_half_a_file_is_refused_by_default_and_its_upper_part_kept_on_demand(name: str) -> None:
    data, tolerance = KEPT[name]
    with pytest.raises(TruncatedPicture):
        decode(half(data))
    whole, part = decode(data), decode(half(data), keep_truncated=True)
    upper = slice(0, 40)  # of 128 rows
    assert part.truncated and part.pixels.shape == whole.pixels.shape
    assert far(part.pixels[upper], whole.pixels[upper]) <= tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_formats_of_which_no_part_can_be_decoded_are_refused_all_the_same(name: str) -> None:
    with pytest.raises(TruncatedPicture):
        decode(half(REFUSED[name]), keep_truncated=True)


@pytest.mark.parametrize("name", KEPT)
def test_a_file_without_any_pixel_is_refused_all_the_same(name: str) -> None:
    data = KEPT[name][0]
    start = {"JPE": data.find(b"\xff\xda") + 14, "PNG": data.find(b"IDAT") + 6, "TIF": 100}[name[:3]]
    with pytest.raises(TruncatedPicture):
        decode(data[:start], keep_truncated=True)


@pytest.mark.parametrize("name", KEPT)
def test_a_complete_file_is_not_marked(name: str) -> None:
    data = KEPT[name][0]
    kept = decode(data, keep_truncated=True)
    assert not kept.truncated and np.array_equal(kept.pixels, decode(data).pixels)


def test_missing_rows_of_a_png_with_alpha_are_transparent() -> None:
    part = decode(half(KEPT["PNG with alpha"][0]), keep_truncated=True)
    assert part.rgba is not None
    assert part.rgba[0, 0, 3] == 255 and not part.rgba[-1, :, 3].any()


def test_rows_before_a_damaged_chunk_of_a_png_are_kept() -> None:
    rows = np.pad(SMOOTH.reshape(128, -1), ((0, 0), (1, 0))).tobytes()
    packed = zlib.compress(rows)
    chunks = [chunk(b"IDAT", packed[at : at + 1000]) for at in range(0, len(packed), 1000)]
    middle = len(chunks) // 2
    chunks[middle] = chunks[middle][:-1] + bytes([chunks[middle][-1] ^ 1])
    data = SIGNATURE + saved(IMAGE, "PNG")[8:33] + b"".join(chunks) + chunk(b"IEND", b"")
    part = decode(data, keep_truncated=True)
    assert part.truncated and np.array_equal(part.pixels[:40], SMOOTH[:40]) and not part.pixels[-1].any()


def test_a_truncated_file_is_turned_upright() -> None:
    data = saved(IMAGE, "JPEG", quality=95, exif=with_orientation(6))
    part = decode(half(data), keep_truncated=True)
    assert part.pixels.shape == (192, 128, 3)
    assert far(part.pixels[:, -40:], decode(data).pixels[:, -40:]) <= 2


def test_the_limit_of_pixels_holds() -> None:
    for data, _ in KEPT.values():
        with pytest.raises(PictureTooLarge):
            decode(half(data), max_pixels=1000, keep_truncated=True)


def test_pillows_switch_for_the_whole_process_stays_off() -> None:
    decode(half(KEPT["PNG"][0]), keep_truncated=True)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
