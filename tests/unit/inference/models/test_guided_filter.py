"""Guided upsampling: a coarse matte follows the picture's edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import Tensor

from inference.models import guided_filter as guided
from inference.models.guided_filter import guided_upsample
from inference.resampling import resize
from inference.synthetic import render_sample


def disc(side: int = 240, radius: float = 70.3) -> tuple[Tensor, Tensor]:
    """A dark disc on a light background, H x W x 3 uint8, and its alpha 1 x 1 x H x W."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = ((x - side / 2) ** 2 + (y - side / 2) ** 2).sqrt()
    alpha = (radius - distance + 0.5).clamp(0, 1)
    colours = alpha[..., None] * torch.tensor([40.0, 60, 90]) + (1 - alpha[..., None]) * torch.tensor([220.0, 225, 230])
    return colours.round().to(torch.uint8), alpha[None, None]


def test_a_coarse_disc_regains_its_sharp_edge() -> None:
    pixels, alpha = disc()
    matte = resize(alpha, (60, 60))
    plain = (resize(matte, (240, 240)) - alpha).abs().mean()
    guided_error = (guided_upsample(matte, pixels) - alpha[0, 0]).abs().mean()
    assert guided_error < plain / 5


def test_decided_parts_are_unchanged() -> None:
    pixels = torch.randint(0, 256, (200, 300, 3), dtype=torch.uint8)
    assert (guided_upsample(torch.ones(1, 1, 20, 30), pixels) == 1).all()
    assert (guided_upsample(torch.zeros(1, 1, 20, 30), pixels) == 0).all()


def test_on_a_flat_picture_the_matte_is_only_enlarged() -> None:
    matte = torch.full((1, 1, 40, 40), 0.3)
    assert (guided_upsample(matte, torch.full((160, 160, 3), 128, dtype=torch.uint8)) - 0.3).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (60, 60), (61, 59)])
def test_pictures_of_any_size_work(size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    alpha = guided_upsample(torch.rand(1, 1, 60, 60), pixels)
    assert alpha.shape == size and alpha.isfinite().all()


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = render_sample(default_rng(4), 256, 320)
    pixels, matte = torch.from_numpy(sample.image), resize(torch.from_numpy(sample.alpha)[None, None] / 255, (64, 64))
    whole = guided_upsample(matte, pixels)
    monkeypatch.setattr(guided, "CHUNK", 100)
    assert torch.equal(guided_upsample(matte, pixels), whole)


def test_the_linear_systems_are_solved() -> None:
    generator = default_rng(1)
    root = generator.normal(size=(5, 3, 3))
    matrix, wanted = root @ root.transpose(0, 2, 1), generator.normal(size=(5, 3))
    upper = np.stack([matrix[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))], 1)
    shared = ((matrix + guided.EPSILON * np.eye(3)) @ wanted[..., None])[..., 0]
    found = guided._solve(torch.from_numpy(upper)[..., None, None], torch.from_numpy(shared)[..., None, None])
    assert np.allclose(found[..., 0, 0].numpy(), wanted, rtol=1e-4)
