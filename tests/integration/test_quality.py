"""The shipped weights on the held-out split: what an issue asked for, and what the model card says."""

from collections.abc import Callable

import pytest

from inference import Engine, EngineOptions
from inference.training.evaluate import held_out, judge
from inference.training.metrics import mean

COUNT = 120
"""Of the 400 pictures that `make evaluate` judges: enough to notice worse weights."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shipped_weights_are_as_good_as_promised(figures: Callable[[str], None]) -> None:
    with Engine(EngineOptions(model="nano")) as engine:
        scores = mean([judged.scores for judged in judge(engine, COUNT)])
    figures(f"nano on {COUNT} held-out pictures: MAD {scores.mad:.4f}, IoU {scores.iou:.4f}")
    assert scores.mad <= 0.025
    assert scores.iou >= 0.92


def test_the_split_is_fixed() -> None:
    assert (held_out(3).image == held_out(3).image).all()
    assert held_out(3).image.shape != held_out(4).image.shape
