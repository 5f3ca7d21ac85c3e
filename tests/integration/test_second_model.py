"""A cascade as its user sees it: two images, one of which the fast model is not sure of."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.equipment.support import alphadrop


def photo(path: Path, contrast: int) -> None:
    """A block on light grey, which differs from it by `contrast`."""
    pixels = np.full((60, 80, 3), 230, np.uint8)
    pixels[15:40, 20:50] = 230 - contrast
    Image.fromarray(pixels).save(path)


def test_an_output_records_which_model_made_it_and_why(tmp_path: Path) -> None:
    photos, cutouts = tmp_path / "photos", tmp_path / "cutouts"
    photos.mkdir()
    photo(photos / "plain.png", 200)
    photo(photos / "faint.png", 25)
    models = ("--model", "fake", "--strong", "fake:side=192", "--strong-below", "0.5")
    run = alphadrop("once", str(photos), str(cutouts), "--devices", "cpu", *models, "--state", str(tmp_path / "state"))
    assert run.code == 0, run.err
    recorded = {}
    for name in ("plain", "faint"):
        info = alphadrop("inspect", str(cutouts / f"{name}.png"), "--json")
        recorded[name] = json.loads(info.out)
    plain, faint = recorded["plain"], recorded["faint"]
    assert plain["model"].startswith("fake ") and "other_confidence" not in plain
    assert faint["other_confidence"] <= faint["confidence"] < 0.5
    assert plain["options"]["strong_below"] == 0.5
