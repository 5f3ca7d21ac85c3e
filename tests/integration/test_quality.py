"""The shipped weights on the held-out split: what an issue asked for, and what the model card says."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from inference import Engine, EngineOptions
from inference.evaluation.held_out import HELD_OUT, held_out, judge
from inference.evaluation.metrics import gradient_error, mean
from inference.models import band
from inference.models.guided_filter import guided_upsample
from inference.models.native import CVUNetModel
from inference.models.registry import resolve
from inference.resampling import resize, to_canvas
from inference.rgba import rgb_to_rgbx
from inference.synthetic import render_sample
from inference.training.losses import transition_band

COARSE, LIFTED = 6, 8
COUNT = 120
"""Of the 400 pictures that `make evaluate` judges: enough to notice worse weights."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_shipped_weights_are_as_good_as_promised(figures: Callable[[str], None]) -> None:
    with Engine(EngineOptions(model="nano")) as engine:
        scores = mean([judged.scores for judged in judge(engine, COUNT)])
    figures(f"nano on {COUNT} held-out pictures: MAD {scores.mad:.4f}, IoU {scores.iou:.4f}")
    assert scores.mad <= 0.015
    assert scores.iou >= 0.94


@pytest.mark.slow
@torch.inference_mode()
def test_a_coarse_matte_is_better_along_the_pictures_edges(figures: Callable[[str], None]) -> None:
    model = CVUNetModel(resolve("nano"))
    model.load(torch.device("cpu"))
    errors = []
    for index in range(COARSE):
        sample = render_sample(np.random.default_rng([HELD_OUT, index]), 960, 1280)
        pixels, truth = torch.from_numpy(sample.image), np.divide(sample.alpha, 255, dtype=np.float32)
        matte = model.coarse(to_canvas(pixels, model.canvas(1280, 960), model.dtype))[0].float().sigmoid()
        for alpha in (resize(matte, (960, 1280))[0, 0], guided_upsample(matte, pixels)):
            errors.append((np.abs(alpha.numpy() - truth).mean(), gradient_error(alpha.numpy(), truth)))
    plain, guided = np.mean(errors[::2], 0), np.mean(errors[1::2], 0)
    figures(
        f"coarse mattes of {COARSE} pictures, enlarged and guided: MAD {plain[0]:.4f} and {guided[0]:.4f}, "
        f"Grad {plain[1]:.1f} and {guided[1]:.1f}"
    )
    assert guided[0] < 0.9 * plain[0] and guided[1] < 0.6 * plain[1]


@pytest.mark.slow
@torch.inference_mode()
def test_a_lift_is_nearly_as_near_to_the_edge_as_the_head_itself(
    figures: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CVUNetModel(resolve("nano"))
    model.load(torch.device("cpu"))
    errors = []
    for index in range(LIFTED):
        sample = render_sample(np.random.default_rng([HELD_OUT, index]), 1080, 1920)
        picture, truth = rgb_to_rgbx(torch.from_numpy(sample.image)), torch.from_numpy(sample.alpha)
        coarse = model.coarse(to_canvas(picture, model.canvas(1920, 1080), model.dtype))
        edge = transition_band(truth[None, None] / 255, radius=4)[0, 0] > 0
        for detail in (1024, 2048):
            monkeypatch.setattr(band, "DETAIL", detail)
            difference = (model.refine(picture, coarse).int() - truth.int()).abs() / 255
            errors.append(float(difference[edge].mean()))
    lifted, looked = np.mean(errors[::2]), np.mean(errors[1::2])
    figures(
        f"mean error within 4 pixels of the edge, {LIFTED} pictures of 1920x1080: {lifted:.3f} lifted from 960 pixels, "
        f"{looked:.3f} with the edge head at full size"
    )
    assert lifted < 1.2 * looked


def test_the_split_is_fixed() -> None:
    assert (held_out(3).image == held_out(3).image).all()
    assert held_out(3).image.shape != held_out(4).image.shape
