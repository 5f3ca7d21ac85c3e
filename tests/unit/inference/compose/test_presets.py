"""Each marketplace's preset against the marketplace's rule, on the decoded file."""

import datetime
import io
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.compose import PRESETS, Composed
from inference.compose.presets import Preset
from tests.equipment.composing import block, disc, made


@dataclass(frozen=True)
class Rule:
    """What an output must be; the limits are those of FACTS and pages that `Preset.sources` names."""

    shorter: int
    longer: int
    longest: int
    share: tuple[float, float]
    max_bytes: int
    ratio: float | None = 1.0
    """Height by width; None if any."""


RULES = {
    "amazon-main": Rule(1000, 1600, 10_000, (0.85, 1), 10_000_000),
    "shopify": Rule(800, 2048, 4472, (0.5, 1), 20_000_000),
    "ebay": Rule(500, 1600, 9000, (0.8, 0.9), 12_000_000),
    "etsy": Rule(2000, 2000, 10_000, (0.5, 1), 10_000_000),
    "walmart": Rule(2200, 2200, 2200, (0.5, 1), 5_000_000),
    "google-merchant": Rule(500, 500, 8000, (0.75, 0.9), 16_000_000),
    "temu": Rule(1340, 1785, 10_000, (0.75, 0.85), 2_000_000, 4 / 3),
    "zalando": Rule(762, 1100, 10_000, (0.5, 1), 20_000_000, 1.44),
    "otto": Rule(500, 1000, 4500, (0.85, 1), 10_000_000),
}
NAMES = list(RULES)


def object_extent(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of what is not white."""
    seen = pixels[..., 1] < 240  # the objects here have little green
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def opened_by(preset: Preset, composed: Composed) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(composed.data))
    assert (image.format, image.mode) == ("JPEG", "RGB"), preset.name
    assert image.info["icc_profile"]
    return np.asarray(image)


def test_every_preset_has_a_rule_here():
    assert set(PRESETS) == set(RULES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_keeps_its_rule(name: str):
    preset, rule = PRESETS[name], RULES[name]
    width, height = (700, 400) if NAMES.index(name) % 2 else (240, 640)
    subject = block(1000, 800, (150, 60, 150 + width, 60 + height), (170, 30, 40))
    composed = made(subject, **preset.spec.changes())
    pixels = opened_by(preset, composed)
    assert pixels.shape[:2] == (composed.height, composed.width)
    assert min(pixels.shape[:2]) >= rule.shorter
    assert rule.longer <= max(pixels.shape[:2]) <= rule.longest
    assert rule.ratio is None or composed.height / composed.width == pytest.approx(rule.ratio, abs=0.006)
    assert len(composed.data) <= rule.max_bytes
    across, down = object_extent(pixels)
    share = max(across / composed.width, down / composed.height)
    assert rule.share[0] <= share <= rule.share[1] + 0.01
    assert (pixels[:10] == 255).all() and (pixels[-10:] == 255).all(), "pure white above and below"
    assert (pixels[:, :10] == 255).all() and (pixels[:, -10:] == 255).all(), "and on both sides"
    assert composed.box is not None and abs(composed.box.width - across) <= 2


def test_the_background_of_a_preset_is_pure_white_up_to_the_object():
    preset = PRESETS["temu"]
    composed = made(disc(300, 300, 120), **preset.spec.changes())
    pixels = opened_by(preset, composed)
    assert composed.box is not None
    y, x = np.mgrid[: composed.height, : composed.width]
    middle = ((composed.box.left + composed.box.right) / 2, (composed.box.top + composed.box.bottom) / 2)
    # Beyond the edge's soft pixels, which are enlarged here, and the block of 8 x 8 pixels that it lies in.
    beyond = np.hypot(x - middle[0], y - middle[1]) > composed.box.width / 2 + 30
    assert (pixels[beyond] == 255).all()


def test_every_preset_states_rule_source_and_day():
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert len(preset.rule) > 30 and not preset.spec.is_plain
        assert preset.sources and all(source.startswith("https://") for source in preset.sources)
        assert datetime.date.fromisoformat(preset.checked) >= datetime.date(2026, 11, 28)
