"""The real split and the comparison with other networks: fixed pictures, the same for every model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.corpus.gathering import flat
from inference.corpus.layout import Layout
from inference.evaluation import real
from inference.evaluation.real import BACKGROUNDS, real_samples
from inference.evaluation.side_by_side import evaluate, rivals

NAMES = ("birds/crane.png", "tools/ball.png")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A split of two red discs and one grey background."""
    monkeypatch.setattr(real, "listed", lambda split: dict.fromkeys(NAMES, ""))
    result = Layout(tmp_path / "data")
    result.real_objects.mkdir(parents=True)
    result.real_backgrounds.mkdir()
    y, x = np.mgrid[:320, :320]
    alpha = np.asarray(np.clip(140 - np.hypot(x - 160, y - 160), 0, 1) * 255, np.uint8)
    disc = np.dstack((np.full_like(alpha, 210), np.full_like(alpha, 20), np.full_like(alpha, 20), alpha))
    for name in NAMES:
        Image.fromarray(disc).save(result.real_objects / flat(name))
    Image.new("RGB", (400, 300), (90, 100, 90)).save(result.real_backgrounds / "lawn.png")
    return result


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_pictures_are_the_same_each_time(layout: Layout, background: str) -> None:
    first, second = (list(real_samples(layout, background)) for _ in range(2))
    assert [name for name, _ in first] == sorted(NAMES)
    for (_, one), (_, two) in zip(first, second, strict=True):
        assert (one.image == two.image).all() and (one.alpha == two.alpha).all()
        assert one.image.shape == (*one.alpha.shape, 3)


def test_the_matte_is_the_objects_and_not_its_shadows(layout: Layout) -> None:
    for background in BACKGROUNDS:
        for _, sample in real_samples(layout, background):
            red = sample.image[..., 0].astype(int) - sample.image[..., 1] > 100
            assert red[sample.alpha > 250].mean() > 0.98
            assert 0.1 < (sample.alpha > 127).mean() < 0.8
    white = next(real_samples(layout, "white"))[1]
    assert white.image[white.alpha == 0].mean() > 200
    assert white.image[white.alpha == 0].min() < 220  # a shadow lies on it


def test_without_the_split_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make training-data"):
        next(real_samples(Layout(tmp_path), "white"))


def test_every_model_gets_the_same_pictures(layout: Layout, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = evaluate({"ours": "fake", "theirs": "fake"}, out, layout, ("drawn", "real"), 2)
    splits = ["drawn", *(f"real, {background}" for background in BACKGROUNDS)]
    assert list(lines) == [(split, name) for split in splits for name in ("ours", "theirs")]
    for split in splits:
        one, two = lines[split, "ours"], lines[split, "theirs"]
        assert one.verdict.scores == two.verdict.scores and len(one.verdict.scores) == 2
        assert one.seconds > 0
        assert (out / split.replace(", ", "-") / "worst.png").exists()
    means = json.loads((out / "figures.json").read_text())
    assert means["real, photograph: ours"]["count"] == 2 and means["drawn: theirs"]["cpu_ms"] > 0
    assert (out / "photographs.png").exists()


def test_a_rival_that_was_not_fetched_is_left_out(layout: Layout) -> None:
    assert rivals(layout) == {}
    layout.models.mkdir()
    layout.teacher.write_bytes(b"")
    assert list(rivals(layout)) == ["u2net"]
