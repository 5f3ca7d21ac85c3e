"""An output's options: what is accepted, in which spellings, and what each refusal says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inference.compose import PLAIN, PRESETS, OutputSpec
from inference.compose.values import Align, Format


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"format": "PNG", "quality": None, "background": "None"}, {}),
        ({"format": "jpg", "background": "White"}, {"format": "jpeg", "background": "#ffffff"}),
        ({"format": "tif", "depth": "16"}, {"format": "tiff", "depth": 16}),
        ({"background": "#F40"}, {"background": "#ff4400"}),
        ({"background": "backgrounds/wood.jpg"}, {"background": "backgrounds/wood.jpg"}),
        ({"trim": True, "margin": 40}, {"trim": True, "margin": "40px"}),
        ({"trim": True, "margin": " 5 % "}, {"trim": True, "margin": "5%"}),
        ({"canvas": "2000 X 1500", "share": "85%"}, {"canvas": "2000x1500", "share": 0.85}),
        ({"canvas": "3:4", "align": "bottom"}, {"canvas": "3:4", "align": "foot"}),
        ({"canvas": "3:4", "align": "Center"}, {"canvas": "3:4"}),
        ({"shadow": "40%"}, {"shadow": 0.4}),
        ({"max_bytes": "5MB"}, {"max_bytes": 5_000_000}),
        ({"max_bytes": "1.5 MiB"}, {"max_bytes": 1_572_864}),
        ({"max_bytes": 900}, {"max_bytes": 900}),
        ({"format": "webp", "quality": "80"}, {"format": "webp", "quality": 80}),
    ],
)
def test_values_have_one_canonical_form(options: dict[str, Any], changes: dict[str, Any]):
    spec = OutputSpec(**options)
    assert spec.changes() == changes
    assert OutputSpec(**spec.changes()) == spec
    assert spec.is_plain == (not changes)
    assert hash(spec) == hash(OutputSpec(**changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "'png', 'webp', 'jpeg', 'tiff' or 'avif'"),
        ({"format": "jpeg"}, "JPEG has no transparency: set background to a colour such as white, or choose png"),
        ({"format": "avif", "lossless": True}, "AVIF cannot be lossless: choose png, webp or tiff"),
        ({"quality": 90}, "PNG without loss has no quality: leave quality out, or choose jpeg, webp or avif"),
        ({"format": "webp", "lossless": True, "quality": 90}, "WEBP without loss has no quality"),
        ({"format": "webp", "quality": 0}, "greater than or equal to 1"),
        ({"format": "webp", "quality": True}, "must be a number, not true or false"),
        ({"format": "webp", "depth": 16}, "WEBP holds 8 bits per channel: choose png or tiff"),
        ({"depth": 12}, "8 or 16"),
        ({"content": "mask", "depth": 16}, "the matte has 8 bits"),
        ({"content": "mask", "background": "white"}, "a mask has no background: leave background out"),
        ({"content": "mask", "shadow": 0.5}, "a mask has no shadow"),
        ({"background": "#12345"}, "write #RRGGBB"),
        ({"background": " "}, "write none, a colour such as white or #f4f4f4, or the path of a picture"),
        ({"margin": "5%"}, "add trim = true"),
        ({"trim": True, "margin": "wide"}, "write pixels as 40px, or per cent of the object's longer side as 5%"),
        ({"trim": True, "margin": 2.5}, "did you mean 2.5%"),
        ({"trim": True, "margin": "500%"}, "at most 400%"),
        ({"trim": True, "margin": "70000px"}, "at most 65535 px"),
        ({"trim": True, "margin": "50px", "max_side": 100}, "leaves no room for the object"),
        ({"trim": True, "margin": "50px", "canvas": "900x90"}, "leaves no room for the object"),
        ({"canvas": "large"}, "write a size in pixels as 2000x2000, or a ratio as 3:4"),
        ({"canvas": "0x100"}, "each side is 1 to 65535"),
        ({"share": 0.85}, "add a canvas such as 2000x2000 or 1:1"),
        ({"canvas": "1:1", "share": 85}, "less than or equal to 1"),
        ({"canvas": "1:1", "share": 0.8, "trim": True}, "both say how much room the object has: leave one out"),
        ({"align": "foot"}, "align is where the object is on a canvas: add a canvas"),
        ({"enlarge": False}, "enlarge is about fitting into a canvas"),
        ({"trim": True, "shadow": 0.5}, "add a margin of 5% or more"),
        ({"gps": True}, "set exif to all"),
        ({"max_bytes": "5 apples"}, "write bytes, or a unit as in 5MB or 5MiB"),
        ({"max_bytes": "0"}, "greater than or equal to 1"),
        ({"dpi": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_refusal_says_what_to_write_instead(options: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as caught:
        OutputSpec(**options)
    assert message in str(caught.value)


def test_an_output_knows_its_names_and_its_background():
    spec = OutputSpec(format=Format.JPEG, background="#102030")
    assert (spec.format.suffix, spec.format.content_type) == (".jpg", "image/jpeg")
    assert [format.suffix for format in Format] == [".png", ".webp", ".jpg", ".tif", ".avif"]
    assert spec.colour == (16, 32, 48) and spec.background_path is None and spec.is_opaque
    assert OutputSpec(background="wood.jpg").background_path == Path("wood.jpg")
    assert PLAIN.colour is None and PLAIN.background_path is None and not PLAIN.is_opaque
    assert PRESETS["amazon-main"].spec.align is Align.CENTRE


def test_only_the_plain_png_leaves_the_rights_out_by_itself():
    assert PLAIN.carried_exif == "none"
    assert OutputSpec(format=Format.WEBP).carried_exif == "rights"
    assert OutputSpec(exif="rights").carried_exif == "rights"


def test_specs_and_presets_load_without_codecs():
    code = (
        "import sys; from inference.compose import OutputSpec, PRESETS; OutputSpec(trim=True); "
        "print(sorted({'numpy', 'PIL', 'torch', 'isal', 'simplejpeg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
