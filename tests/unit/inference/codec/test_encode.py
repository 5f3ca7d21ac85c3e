"""Encoding of cut-outs, and the text that identifies their job."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inference.codec import HEAD_BYTES, decode, encode, is_complete_png, read_text
from inference.codec.png import END, SIGNATURE, chunk
from inference.picture import Cutout
from tests.equipment.encoded_pictures import cutout, noise, saved

KEYWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=79)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
JOB = {"alphadrop:job": "a" * 64, "alphadrop:source": "s3://bucket/käse.jpg"}


def test_a_decoded_cutout_has_no_hidden_colour() -> None:
    pixels = cutout(90, 70)
    again = np.asarray(Image.open(io.BytesIO(encode(Cutout(pixels)))))
    shown = pixels[..., 3] > 0
    assert np.array_equal(again[..., 3], pixels[..., 3])
    assert np.array_equal(again[shown], pixels[shown])
    assert not again[~shown].any()


def test_a_cutout_decodes_as_a_picture_on_white() -> None:
    picture = decode(encode(Cutout(cutout(90, 70))))
    assert (picture.width, picture.height) == (90, 70)
    assert (picture.pixels[0, 0] == 255).all()


@settings(deadline=None)
@given(st.dictionaries(KEYWORDS, VALUES, max_size=4))
def test_text_reads_back_from_the_head_alone(text: dict[str, str]) -> None:
    data = encode(Cutout(noise(40, 40, 4)), text=text)
    assert read_text(data[:HEAD_BYTES]) == text == read_text(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_reading_text_never_raises(junk: bytes) -> None:
    assert read_text(junk) == {}
    assert read_text(SIGNATURE + junk) == {}
    read_text(SIGNATURE + chunk(b"iTXt", junk))


def test_damaged_or_missing_text_is_no_text() -> None:
    data = encode(Cutout(noise(4, 4, 4)), text=JOB)
    at = data.index(b"aaaa")
    damaged = data[:at] + b"b" + data[at + 1 :]
    assert read_text(damaged) == {"alphadrop:source": JOB["alphadrop:source"]}
    assert read_text(data[: at + 20]) == {}


def test_files_of_other_programs_have_their_own_text_or_none() -> None:
    info = PngInfo()
    info.add_itxt("Title", "Käse")
    info.add_itxt("Packed", "x" * 100, zip=True)
    info.add_text("Author", "me")
    assert read_text(saved(noise(4, 4, 4), "PNG", pnginfo=info)) == {"Title": "Käse"}
    assert read_text(saved(noise(4, 4, 3), "JPEG")) == {}


def test_only_a_whole_file_counts_as_complete() -> None:
    data = encode(Cutout(noise(30, 30, 4)))
    assert is_complete_png(data)
    assert is_complete_png(data[-len(END) :])
    assert not any(is_complete_png(data[:-cut]) for cut in range(1, len(data)))


@pytest.mark.parametrize(("alpha", "expected"), [(0, 0.0), (255, 1.0), (51, 0.2)])
def test_coverage_is_the_mean_alpha(alpha: int, expected: float) -> None:
    pixels = np.full((5, 7, 4), 9, np.uint8)
    pixels[..., 3] = alpha
    assert Cutout(pixels).coverage == pytest.approx(expected)
