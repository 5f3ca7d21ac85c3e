"""The shipped weights on the held-out split: what an issue asked for, and what the model card says."""

import pytest

from inference import Engine, EngineOptions
from inference.training.evaluate import held_out, judge
from inference.training.metrics import mean

COUNT = 120
"""Of the 400 pictures that `make evaluate` judges: enough to notice worse weights."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shipped_weights_are_as_good_as_promised(record_property) -> None:
    with Engine(EngineOptions(model="nano")) as engine:
        figures = mean([judged.scores for judged in judge(engine, COUNT)])
    record_property("figures", str(figures))
    print(f"\n{COUNT} held-out pictures: {figures}")
    assert figures.mad <= 0.025
    assert figures.iou >= 0.92


def test_the_split_is_fixed() -> None:
    assert (held_out(3).image == held_out(3).image).all()
    assert held_out(3).image.shape != held_out(4).image.shape
