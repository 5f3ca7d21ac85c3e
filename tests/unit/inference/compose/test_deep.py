"""Outputs with 16 bits a channel, from sources that have them."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from inference.codec import decode
from inference.codec.colour_space import ADOBE, icc_profile
from inference.codec.deep import decode_deep
from inference.codec.matrix_profile import read_matrix_profile
from inference.codec.png import chunk, encode_png_of_any_depth
from inference.compose import NO_METADATA, OutputSpec, SourceMetadata, compose, read_source
from inference.compose.metadata import OutputMetadata
from inference.compose.tiff import encode_tiff
from inference.compose.values import Format
from inference.picture import Cutout
from tests.equipment.encoded_pictures import far, noise, saved, with_orientation

BARE = OutputMetadata({}, None, {}, b"")
Deep = NDArray[np.uint16]


def gradient(height: int = 40, width: int = 60, channels: int = 3) -> Deep:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 1000 + y, y * 1500, (x + y) * 600 + 7, 65535 + 0 * x], -1).astype(np.uint16)[..., :channels]


def big_endian_tiff(pixels: Deep) -> bytes:
    """An uncompressed TIFF with its bytes in the other order (TIFF 6.0)."""
    height, width, channels = pixels.shape
    data = pixels.astype(">u2").tobytes()
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 134), (259, 3, 1, 1 << 16)]
    entries += [(262, 3, 1, 2 << 16), (273, 4, 1, 142), (277, 3, 1, channels << 16), (278, 4, 1, height)]
    entries += [(279, 4, 1, len(data))]
    head = b"MM\0*" + (8).to_bytes(4, "big") + len(entries).to_bytes(2, "big")
    for tag, kind, count, value in entries:
        head += b"".join(n.to_bytes(k, "big") for n, k in ((tag, 2), (kind, 2), (count, 4), (value, 4)))
    head = (head + bytes(4)).ljust(134, b"\0") + (16).to_bytes(2, "big") * channels
    return bytes(head.ljust(142, b"\0") + data)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("write", [encode_png_of_any_depth, lambda pixels: encode_tiff(pixels, BARE)])
def test_every_bit_of_a_16_bit_picture_is_read(write: Callable[[Deep], bytes], channels: int):
    pixels = gradient(channels=channels)
    read = decode_deep(write(pixels))
    assert read is not None
    assert np.array_equal(read, np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)))


def test_the_other_byte_order_and_the_orientation_are_read():
    pixels = gradient()
    read = decode_deep(big_endian_tiff(pixels))
    assert read is not None and np.array_equal(read, pixels)
    exif = chunk(b"eXIf", with_orientation(6).tobytes().removeprefix(b"Exif\0\0"))
    data = encode_png_of_any_depth(pixels, chunks=[exif])
    turned = decode_deep(data)
    assert turned is not None and np.array_equal(turned, np.rot90(pixels, -1))
    assert decode(data).pixels.shape == turned.shape


@pytest.mark.parametrize(
    "data",
    [saved(noise(9, 9, 3), "PNG"), saved(noise(9, 9, 3), "TIFF"), saved(noise(9, 9, 3), "JPEG"), b"Dear all"],
)
def test_pictures_of_8_bits_have_no_deep_colours(data: bytes):
    assert decode_deep(data) is None


def test_a_cut_off_file_has_no_deep_colours():
    data = encode_png_of_any_depth(noise(99, 99, 3).astype(np.uint16) * 257)
    assert decode_deep(data[: len(data) // 2]) is None


def test_a_profile_is_applied_at_16_bits_as_littlecms_does_at_8():
    pixels: Deep = ((gradient() >> 8) * 257).astype(np.uint16)  # what 8 bits hold exactly
    data = encode_tiff(pixels, OutputMetadata({}, None, {}, icc_profile(ADOBE)))
    deep = decode_deep(data)
    assert deep is not None
    assert far(np.rint(deep / 257), decode(data).pixels) <= 1
    assert far(deep >> 8, pixels >> 8) > 10, "the profile changes the colours"


def test_profiles_with_tables_are_left_to_the_8_bit_path():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert read_matrix_profile(lab) is None
    assert read_matrix_profile(b"junk" * 50) is None
    assert read_matrix_profile(b"") is None


def subject(pixels: Deep) -> Cutout:
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    alpha = np.clip((min(width, height) * 0.4 - np.hypot(x - width / 2, y - height / 2)) * 80, 0, 255)
    return Cutout(np.dstack([pixels[..., :3] >> 8, alpha]).astype(np.uint8))


@pytest.mark.parametrize("format", [Format.PNG, Format.TIFF])
def test_opaque_pixels_keep_all_their_bits(format: Format):
    pixels = gradient()
    spec = OutputSpec(format=format, depth=16)
    cutout, source = subject(pixels), read_source(encode_png_of_any_depth(pixels), [spec])
    data = compose(cutout, spec, source, {}).data
    colours = decode_deep(data)
    alpha = cutout.pixels[..., 3]
    assert colours is not None and np.array_equal(colours[alpha == 255], pixels[alpha == 255])
    read = decode(data).rgba
    assert read is not None and np.array_equal(read[..., 3], alpha)
    assert not colours[alpha == 0].any()


@pytest.mark.parametrize(
    "options",
    [{"background": "#abcdef"}, {"canvas": "90x90", "share": 0.8}, {"shadow": 0.5}, {"trim": True},
     {"background": "white", "max_side": 25, "shadow": 0.4}],
)  # fmt: skip
def test_16_bits_look_like_8_and_are_finer(options: dict[str, Any]):
    pixels = gradient()
    deep = OutputSpec(depth=16, **options)
    cutout, source = subject(pixels), read_source(encode_png_of_any_depth(pixels), [deep])
    shallow = compose(cutout, OutputSpec(**options), source, {})
    made = compose(cutout, deep, source, {})
    assert (made.width, made.height, made.box) == (shallow.width, shallow.height, shallow.box)
    assert far(decode(made.data).pixels, decode(shallow.data).pixels) <= 4
    colours = decode_deep(made.data)
    assert colours is not None and np.unique(colours[..., 0] & 255).size > 16


def test_nothing_visible_leaves_the_background_alone():
    cutout, source = Cutout(np.zeros((9, 9, 4), np.uint8)), SourceMetadata(deep=gradient(9, 9))
    for canvas in ("30x20", None):
        made = compose(cutout, OutputSpec(depth=16, background="#204060", canvas=canvas), source, {})
        colours = decode_deep(made.data)
        assert colours is not None and (colours == np.array([0x20, 0x40, 0x60]) * 257).all()


def test_a_source_of_8_bits_stays_at_8_bits():
    cutout = Cutout(noise(8, 8, 4))
    made = compose(cutout, OutputSpec(depth=16), NO_METADATA, {})
    assert made.data == compose(cutout, OutputSpec(exif="rights"), NO_METADATA, {}).data
    assert Image.open(io.BytesIO(made.data)).mode == "RGBA"
    assert read_source(saved(noise(8, 8, 3), "PNG"), [OutputSpec(depth=16)]).deep is None
    assert read_source(encode_png_of_any_depth(gradient()), [OutputSpec(format=Format.TIFF)]).deep is None
