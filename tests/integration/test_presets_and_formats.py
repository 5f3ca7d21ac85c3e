"""Outputs by the real command: two presets with nothing else to write, and every format twice, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.compose.values import Format
from tests.equipment.daemon import colour, coloured
from tests.equipment.pictures import photo, place
from tests.equipment.support import alphadrop, files_below

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FORMATS = "; ".join(
    ["png", "png,name=deep,depth=16", "png,name=mask,content=mask", "webp", "webp,name=exact,lossless", "tiff", "avif",
     "jpeg,background=white"]
)  # fmt: skip


def test_a_preset_needs_nothing_but_its_name(tmp_path: Path) -> None:
    """The shipped network, the settings by default, and the words of the README."""
    for key, rgb in (("a.jpg", (180, 40, 40)), ("shoes/b.jpg", (40, 60, 170))):
        place(tmp_path / "photos", key, photo(key, (320, 240), rgb))
    done = alphadrop(
        "once", "photos", "out", "--preset", "amazon-main,shopify", cwd=tmp_path, XDG_STATE_HOME=str(tmp_path / "state")
    )
    assert (done.code, done.words("written")[:2]) == (0, ["written", "2"]), done.err
    assert files_below(tmp_path / "out") == {
        f"{preset}/{key}" for preset in ("amazon-main", "shopify") for key in ("a.jpg", "shoes/b.jpg")
    }
    for preset, side, share in (("amazon-main", 2000, 0.88), ("shopify", 2048, 0.85)):
        with Image.open(tmp_path / "out" / preset / "shoes" / "b.jpg") as image:
            pixels = np.asarray(image)
        assert (image.format, image.size) == ("JPEG", (side, side))
        coloured_columns = np.flatnonzero((pixels.min(axis=2) < 200).any(axis=0))
        assert abs((coloured_columns[-1] - coloured_columns[0] + 1) / side - share) < 0.02
        assert (pixels[:50] == 255).all() and (pixels[-50:] == 255).all(), "pure white around the object"


def test_identical_jobs_give_identical_bytes_in_every_format(tmp_path: Path) -> None:
    for number in range(3):
        coloured(tmp_path / "photos" / f"{number}.png", colour(number))
    files = []
    for number in range(2):
        out = tmp_path / f"out{number}"
        command = ("once", tmp_path / "photos", out, "--model", "fake", "--state", tmp_path / f"state{number}")
        done = alphadrop(*command, ALPHADROP_OUTPUT=FORMATS, PYTHONHASHSEED=str(number))
        assert done.code == 0, done.err
        files.append({key: (out / key).read_bytes() for key in files_below(out)})
    assert {key.rpartition(".")[2] for key in files[0]} == {format.suffix.lstrip(".") for format in Format}
    assert len(files[0]) == 3 * len(FORMATS.split(";"))
    assert [key for key in files[0] if files[0][key] != files[1].get(key)] == []
