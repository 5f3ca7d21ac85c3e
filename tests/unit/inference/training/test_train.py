"""The training: losses, plan, a few real steps, resuming, exporting."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inference import Engine, EngineOptions, Picture
from inference.training.data import SampleStream
from inference.training.export import export
from inference.training.loader import render_batch
from inference.training.losses import laplacian_loss, matting_loss, transition_band
from inference.training.plan import PHASES, Shape, shape_at
from inference.training.train import Trainer, TrainOptions


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return ((20 - torch.hypot(x - 32, y - 32)) / 4 + 0.5).clamp(0, 1)[None, None]


def test_the_right_matte_costs_less_than_a_wrong_one() -> None:
    right = torch.logit(disc(), eps=1e-4)
    assert matting_loss(right, disc()) < 0.2 * matting_loss(torch.zeros_like(right), disc())
    assert laplacian_loss(disc(), disc()) == 0


def test_the_band_is_where_alpha_changes() -> None:
    band = transition_band(disc())
    assert band[0, 0, 32, 32] == 0
    assert band[0, 0, 0, 0] == 0
    assert band[0, 0, 32, 52] == 1


@pytest.mark.parametrize("progress", [0.0, 0.29, 0.5, 0.99, 1.0])
def test_every_shape_suits_the_network(progress: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = shape_at(progress, rng)
        assert shape.height % (32 * shape.ratio) == 0
        assert shape.width % (32 * shape.ratio) == 0
        assert shape.batch >= 8
        assert min(shape.height, shape.width) >= 64


def test_the_plan_ends_on_the_canvas_that_is_used_at_run_time() -> None:
    assert 320 in PHASES[-1].sides
    assert PHASES[-1].until == 1.0


@pytest.mark.timeout(600)
def test_it_learns_resumes_and_exports_what_the_engine_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = TrainOptions(out=tmp_path / "run", minutes=1000, threads=1)
    pictures, alphas, ratio = render_batch(SampleStream(5), Shape(64, 64, 1, 8))
    trainer = Trainer(options)
    losses = [trainer.step(pictures, alphas, ratio) for _ in range(12)]
    assert min(losses[-3:]) < losses[0]
    trainer.seconds = 60.0
    trainer.note(losses[-1], _quiet())
    trainer.save()
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000

    again = Trainer(options)
    assert (again.steps, again.samples, again.seconds) == (12, 96, 60.0)
    for one, two in zip(trainer.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, two)

    path = export(tmp_path / "run", tmp_path / "weights.safetensors")
    with Engine(EngineOptions(model=str(path), threads=1)) as engine:
        cutout = engine.submit(Picture(pictures[0].numpy())).result()
    assert cutout.pixels.shape == (64, 64, 4)


def _quiet():
    from rich.console import Console

    return Console(quiet=True)
