"""From a cut-out in the sink to the picture that was asked for."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from inference.codec import encode
from inference.compose import PRESETS, OutputSpec
from inference.compose.look import Look
from inference.compose.values import Format
from inference.picture import Box, Cutout
from watcher.config.outputs import OutputSettings
from watcher.web.api import composing
from watcher.web.api.compose_process import compose_result, handle
from watcher.web.api.composing import Composer, require_size, whole_cutout
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.removebg_options import RemovebgOptions
from watcher.web.api.values import region
from watcher.web.api.wanted import Wanted
from watcher.web.errors import ApiError

BOX = Box(10, 20, 40, 60)


@pytest.fixture(scope="module")
def file() -> bytes:
    pixels = np.zeros((80, 120, 4), np.uint8)
    pixels[BOX.top : BOX.bottom, BOX.left : BOX.right] = (200, 30, 40, 255)
    return encode(Cutout(pixels), text={"alphadrop:box": f"{BOX.left},{BOX.top},{BOX.right},{BOX.bottom}"})


def test_the_cutout_as_it_is_is_the_sinks_own_file_and_starts_no_process(file: bytes) -> None:
    composer = Composer(0)
    for options in (RemovebgOptions(), RemovebgOptions(format="png"), RembgOptions()):
        result = composer.compose(file, options)
        assert result.data is file
        assert (result.media_type, result.width, result.height, result.foreground) == ("image/png", 120, 80, BOX)


def test_a_cutout_that_records_no_object_is_refused() -> None:
    with pytest.raises(ApiError) as raised:
        Composer(0).compose(encode(Cutout(np.zeros((8, 8, 4), np.uint8))), RemovebgOptions())
    assert raised.value.code == "unknown_foreground"


def test_everything_else_is_composed_in_a_process_of_its_own(file: bytes) -> None:
    composer = Composer(1)
    try:
        result = composer.compose(file, RemovebgOptions(crop=True, format="png"))
        assert (result.width, result.height, result.foreground) == (30, 40, BOX)
        with pytest.raises(ApiError) as raised:
            composer.compose(file, RemovebgOptions(), background=b"no picture")
        assert raised.value.code == "invalid_bg_image"
    finally:
        composer.close()
    with pytest.raises(ApiError) as raised:
        composer.compose(file, RembgOptions(om=True))
    assert raised.value.code == "not_composed"


def test_a_process_that_runs_out_of_memory_says_so(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("watcher.web.api.compose_process.compose_result", exhausted)
    answer, data = handle({"kind": "rembg", "options": {}, "cutout": len(file)}, file)
    assert answer["error"]["code"] == "not_composed" and not data


def test_another_format_is_encoded_anew(file: bytes) -> None:
    result = compose_result(file, Wanted(Look(format=Format.WEBP)))
    assert result.media_type == "image/webp" and Image.open(io.BytesIO(result.data)).size == (120, 80)


def test_a_zip_has_colours_and_alpha(file: bytes) -> None:
    result = compose_result(file, Wanted(Look(), is_zip=True))
    with zipfile.ZipFile(io.BytesIO(result.data)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"] and archive.testzip() is None
    assert result.media_type == "application/zip"


def test_a_region_leaves_only_what_is_in_it(file: bytes) -> None:
    result = compose_result(file, Wanted(Look(), roi=region("0% 0% 20px 100%")))
    assert result.foreground == Box(10, 20, 20, 60)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Wanted(Look(), roi=region("50% 0% 100% 100%")), "unknown_foreground"),
        (Wanted(Look(), roi=region("500px 500px 600px 600px")), "invalid_roi"),
    ],
)
def test_a_region_without_an_object_is_refused(wanted: Wanted, code: str, file: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        compose_result(file, wanted)
    assert (raised.value.status, raised.value.code) == (400, code)


def test_an_opaque_cutout_is_all_object() -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(file, "PNG")
    assert compose_result(file.getvalue(), Wanted(Look())).foreground == Box(0, 0, 30, 20)


def test_a_picture_that_is_too_large_is_refused_by_its_header(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    require_size(file)
    monkeypatch.setattr(composing, "MAX_PIXELS", 9_599)
    with pytest.raises(ApiError) as raised:
        require_size(file)
    assert raised.value.code == "resolution_too_high"


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ApiError) as raised:
        require_size(b"text")
    assert (raised.value.status, raised.value.code) == (400, "unknown_format")


def test_the_most_exact_whole_cutout_is_chosen() -> None:
    amazon = OutputSettings(name="amazon-main", spec=PRESETS["amazon-main"].spec)
    lossy = OutputSettings(name="lossy", spec=OutputSpec(format=Format.WEBP))
    small = OutputSettings(name="small", spec=OutputSpec(max_side=100))
    plain = OutputSettings()
    assert whole_cutout([amazon, lossy, small, plain]) is plain
    assert whole_cutout([amazon, small, lossy]) is lossy
    assert whole_cutout([amazon, small]) is None
