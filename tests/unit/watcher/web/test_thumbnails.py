"""Small pictures of what strangers upload."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from watcher.web.errors import ApiError
from watcher.web.thumbnail_process import handle
from watcher.web.thumbnails import SIZE, Thumbnails


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def small(data: bytes, max_pixels: int = 10_000_000) -> Image.Image:
    header, thumbnail = handle({"size": SIZE, "max_pixels": max_pixels}, data)
    assert header == {}
    return Image.open(io.BytesIO(thumbnail))


def problem(data: bytes, max_pixels: int = 10_000_000) -> str:
    header, thumbnail = handle({"size": SIZE, "max_pixels": max_pixels}, data)
    assert thumbnail == b""
    return str(header["problem"])


def half_red(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_longer_side_has_the_size_and_colours_stay(format: str) -> None:
    thumbnail = small(encoded(half_red(1500, 700), format))
    assert thumbnail.format == "WEBP" and thumbnail.size == (SIZE, round(SIZE * 700 / 1500))
    pixels = np.asarray(thumbnail.convert("RGB"))
    assert pixels[50, 20].argmax() == 0 and pixels[50, -20].argmax() == 2


def test_a_jpeg_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the left
    thumbnail = small(encoded(half_red(1200, 600), "JPEG", exif=exif)).convert("RGB")
    assert thumbnail.size == (SIZE // 2, SIZE)
    assert np.asarray(thumbnail)[20, 80].argmax() == 0, "red is above"


def test_transparency_stays() -> None:
    image = Image.new("RGBA", (800, 800))
    image.paste((10, 200, 10, 255), (200, 200, 600, 600))
    alpha = np.asarray(small(encoded(image, "PNG")))[:, :, 3]
    assert alpha[5, 5] == 0 and alpha[160, 160] == 255


def test_a_small_picture_keeps_its_size() -> None:
    assert small(encoded(half_red(20, 10), "PNG")).size == (20, 10)


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff", encoded(half_red(64, 64), "PNG")[:40], bomb()])
def test_what_cannot_be_shown_is_no_crash(data: bytes) -> None:
    assert problem(data)


def test_a_picture_with_too_many_pixels_is_not_decoded() -> None:
    assert "too many" in problem(encoded(half_red(300, 300), "PNG"), max_pixels=80_000)


@pytest.fixture
def thumbnails() -> Iterator[Thumbnails]:
    with closing(Thumbnails(1_000_000, kept_bytes=10_000)) as thumbnails:
        yield thumbnails


def test_a_thumbnail_is_made_once_and_the_memory_for_them_is_bounded(thumbnails: Thumbnails) -> None:
    reads: list[int] = []

    def read(number: int) -> bytes:
        reads.append(number)
        noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        return encoded(Image.fromarray(noise), "PNG")

    first = [thumbnails.get("tag 0", lambda: read(0)) for _ in range(2)]
    assert first[0] == first[1] and reads == [0]
    for number in range(1, 6):
        thumbnails.get(f"tag {number}", partial(read, number))
    assert sum(map(len, thumbnails._kept.values())) <= 10_000
    thumbnails.get("tag 0", lambda: read(0))
    assert reads[-1] == 0, "it was displaced"


def test_a_picture_without_a_thumbnail_is_an_error_of_the_api(thumbnails: Thumbnails) -> None:
    with pytest.raises(ApiError) as caught:
        thumbnails.get("tag", lambda: b"no picture")
    assert (caught.value.status, caught.value.code) == (404, "no_thumbnail")
