"""The PNG writer: exact, well-formed, compact, with bounded memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from inference.codec import png
from inference.codec.png import HEAD_BYTES, encode_png
from inference.compiled import PixelKernels, library_path, open_library, pixel_kernels, without_kernels
from tests.equipment.encoded_pictures import cutout, noise, saved

SIDES = st.integers(1, 40)


def reread(data: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    assert image.mode == "RGBA"
    return np.asarray(image)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body, checksum = data[at + 4 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        assert zlib.crc32(body) == int.from_bytes(checksum, "big")
        found.append((body[:4], body[4:]))
        at += 12 + length
    return found


@settings(deadline=None)
@given(width=SIDES, height=SIDES, seed=st.integers(0, 1 << 30), level=st.integers(0, 3))
def test_any_picture_reads_back_the_same(width: int, height: int, seed: int, level: int) -> None:
    pixels = noise(height, width, 4, seed=seed)
    assert np.array_equal(reread(encode_png(pixels, level=level)), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (701, 997)])
def test_shapes_around_the_stripes_read_back_the_same(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(*shape, 4)
    for stripe in (1, 5000, 1 << 20):
        monkeypatch.setattr(png, "_STRIPE_BYTES", stripe)
        assert np.array_equal(reread(encode_png(pixels)), pixels)


@pytest.mark.parametrize("stripe", [1, 500, 1 << 20])
def test_hidden_colour_anywhere_is_dropped_whatever_the_stripes(stripe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "_STRIPE_BYTES", stripe)
    pixels = noise(60, 20, 4)
    pixels[20:40, :, 3] |= 1  # stripes without any
    pixels[:10, ::3, 3] = pixels[45:, 5:, 3] = 0
    wanted = pixels * (pixels[..., 3:] > 0)
    assert np.array_equal(reread(encode_png(pixels, keep_hidden=False)), wanted)


@pytest.mark.usefixtures("kernels")
@settings(deadline=None, max_examples=40)
@given(
    width=SIDES, height=SIDES, seed=st.integers(0, 99), stripe=st.sampled_from([1, 500, 1 << 20]), keep=st.booleans()
)
def test_the_compiled_filter_gives_the_same_file(width: int, height: int, seed: int, stripe: int, keep: bool) -> None:
    """Identical jobs give identical bytes, also where one worker has compiled kernels and another has none."""
    pixels = noise(height, width, 4, seed=seed)
    pixels[: height // 2, ::2, 3] = 0
    assert pixel_kernels() is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_STRIPE_BYTES", stripe)
        compiled = encode_png(pixels, keep_hidden=keep)
        with without_kernels():
            assert encode_png(pixels, keep_hidden=keep) == compiled


@pytest.mark.usefixtures("kernels")
def test_arrays_that_the_compiled_filter_would_misread_are_refused() -> None:
    compiled, rows, filtered = PixelKernels(open_library(library_path())), noise(4, 6, 4), np.empty((4, 25), np.uint8)
    for wrong in (noise(4, 6, 3), noise(5, 6, 4), noise(4, 12, 4)[:, ::2]):
        with pytest.raises(ValueError, match="contiguous rows"):
            compiled.filter_up(wrong, None, filtered, True)
    with pytest.raises(ValueError, match="contiguous rows"):
        compiled.filter_up(rows, noise(1, 5, 4), filtered, True)


def test_a_decoder_with_the_window_that_the_file_names_reads_it() -> None:
    tile = noise(1, 300, 4)  # comes again 1200 bytes later, farther than the window
    data = encode_png(np.tile(tile, (50, 4, 1)))
    packed = b"".join(payload for kind, payload in chunks(data) if kind == b"IDAT")
    deflate = zlib.decompressobj(8 + (packed[0] >> 4))
    raw = b"".join(deflate.decompress(packed[at : at + 50]) for at in range(0, len(packed), 50))
    assert len(raw) == 50 * (1 + 1200 * 4)
    assert deflate.eof


def test_views_and_big_pictures_read_back_the_same() -> None:
    pixels = noise(1200, 900, 4)
    for view in (pixels[::-1], pixels[:, ::2], pixels.transpose(1, 0, 2), pixels[..., ::-1]):
        assert np.array_equal(reread(encode_png(view)), view)
        assert np.array_equal(reread(encode_png(view, keep_hidden=False))[..., 3], view[..., 3])


def test_the_file_is_well_formed() -> None:
    data = encode_png(cutout(800, 600), text={"job": "1"})
    kinds = [kind for kind, _ in chunks(data)]
    assert kinds[:4] == [b"IHDR", b"sRGB", b"iTXt", b"IDAT"]
    assert kinds[-1] == b"IEND"
    assert set(kinds[3:-1]) == {b"IDAT"}
    packed = b"".join(payload for kind, payload in chunks(data) if kind == b"IDAT")
    assert len(zlib.decompress(packed)) == 600 * (1 + 800 * 4)


def test_hidden_colour_is_dropped_on_request_and_the_input_left_alone() -> None:
    pixels = noise(50, 70, 4)
    pixels[..., 3] |= 1
    pixels[::2, :, 3] = 0
    before = pixels.copy()
    dropped = reread(encode_png(pixels, keep_hidden=False))
    assert np.array_equal(pixels, before)
    assert not dropped[::2].any()
    assert np.array_equal(dropped[1::2], before[1::2])


@pytest.mark.parametrize("grain", [1.0, 3.0, 8.0])
def test_a_photo_like_cutout_is_not_much_larger_than_pillow_makes_it(grain: float) -> None:
    pixels = cutout(640, 480, grain=grain)
    pixels *= pixels[..., 3:] > 0
    assert len(encode_png(pixels, keep_hidden=False)) <= 1.2 * len(saved(pixels, "PNG"))


def test_pillow_reads_the_text() -> None:
    image = Image.open(io.BytesIO(encode_png(noise(2, 2, 4), text={"Höhe": "5 µm µ 日本"})))
    assert image.info["Höhe"] == "5 µm µ 日本"
    assert image.info["srgb"] == 0


@pytest.mark.parametrize("keyword", ["", " x", "x ", "a  b", "a\nb", "日本", "k" * 80, "a\0b"])
def test_a_forbidden_keyword_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match=r"keyword|latin"):
        encode_png(noise(2, 2, 4), text={keyword: "v"})


def test_text_that_would_outgrow_the_head_is_refused() -> None:
    with pytest.raises(ValueError, match="shorten"):
        encode_png(noise(2, 2, 4), text={"k": "v" * HEAD_BYTES})
    with pytest.raises(ValueError, match="null"):
        encode_png(noise(2, 2, 4), text={"k": "a\0b"})


@pytest.mark.parametrize("wrong", [noise(4, 4, 3), noise(4, 4), noise(0, 4, 4), noise(4, 0, 4), np.zeros((4, 4, 4))])
def test_anything_but_rgba_bytes_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="H x W x 4"):
        encode_png(wrong)
