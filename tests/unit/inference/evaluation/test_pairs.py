"""Pictures and true mattes: which belong together, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.evaluation.pairs import match, read_alpha


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_same_path_but_for_the_ending_belongs_together(tmp_path: Path) -> None:
    images = touch(tmp_path / "images", "b.jpg", "shoes/a.JPG", "alone.webp", "twice.jpg", "twice.png", "note.txt")
    alphas = touch(tmp_path / "alphas", "b.png", "shoes/a.tif", "hats/a.png", "twice.png", ".hidden.png")
    left_out: list[tuple[str, str]] = []
    pairs = match(images, alphas, lambda name, why: left_out.append((name, why)))
    assert [(pair.key, pair.truth.name) for pair in pairs] == [("b.jpg", "b.png"), ("shoes/a.JPG", "a.tif")]
    assert left_out == [
        ("alone", "1 picture, no mattes"),
        ("hats/a", "no pictures, 1 matte"),
        ("twice", "2 pictures, 1 matte"),
    ]


RAMP = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RAMP),
        Image.fromarray(np.dstack([RAMP] * 3)),
        Image.fromarray(np.dstack([RAMP * 0, RAMP, RAMP * 0, RAMP])),
        Image.fromarray(np.dstack([RAMP * 0, RAMP]), "LA"),
        Image.fromarray(RAMP.astype(np.uint16) * 257),
    ],
    ids=["grey", "rgb", "rgba", "grey with alpha", "16 bits"],
)
def test_a_matte_is_the_alpha_of_what_has_one_and_else_its_brightness(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "matte.png")
    assert (read_alpha(tmp_path / "matte.png") == RAMP).all()


def test_black_and_white_in_one_bit_is_all_or_nothing(tmp_path: Path) -> None:
    Image.fromarray(RAMP > 99).save(tmp_path / "matte.png")
    assert set(np.unique(read_alpha(tmp_path / "matte.png"))) == {0, 255}


def test_a_matte_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "matte.png").write_bytes(b"Dear all")
    with pytest.raises(ValueError, match="its matte cannot be read"):
        read_alpha(tmp_path / "matte.png")
