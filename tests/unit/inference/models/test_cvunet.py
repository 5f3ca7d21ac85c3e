"""The network: shapes, sizes, folding, and that one picture's matte does not depend on its company."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference import Engine, EngineOptions, Picture
from inference.errors import ModelError
from inference.models.catalogue import CATALOGUE, resolve
from inference.models.cvunet import SIZES, CVUNet, load_network, pyramid
from inference.training.data import render_sample


def megabytes(network: torch.nn.Module) -> float:
    return sum(p.numel() * 4 for p in network.parameters()) / 1e6


@pytest.mark.parametrize("size", CATALOGUE, ids=lambda s: s.name)
def test_the_sizes_are_as_large_as_the_catalogue_says(size) -> None:
    with torch.device("meta"):
        network = CVUNet(SIZES[size.name])
    assert megabytes(network) == pytest.approx(size.megabytes, rel=0.05)


def test_lite_and_full_keep_to_their_budgets() -> None:
    with torch.device("meta"):
        assert megabytes(CVUNet(SIZES["lite"])) <= 80
        assert 190 <= megabytes(CVUNet(SIZES["full"])) <= 210


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (300, 200), (1, 1), (641, 33)])
def test_refine_returns_the_pictures_own_size(size: tuple[int, int]) -> None:
    network = CVUNet(SIZES["nano"]).eval()
    with torch.inference_mode():
        coarse = network.coarse(torch.rand(1, 3, 128, 192))
        levels = network.refine(torch.rand(1, 3, *size), *coarse)
    assert levels[-1].shape == (1, 1, *size)


def test_the_pyramid_ends_at_the_picture_and_starts_below_the_floor() -> None:
    levels = pyramid(torch.rand(1, 3, 500, 1001), floor=320)
    assert [tuple(level.shape[-2:]) for level in levels] == [(125, 251), (250, 501), (500, 1001)]


def test_folding_the_batch_norms_changes_nothing() -> None:
    network = load_network(resolve("nano")).eval()
    picture = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        plain = network.refine(picture, *network.coarse(picture))[-1]
        folded = network.fold().refine(picture, *network.coarse(picture))[-1]
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert torch.allclose(plain, folded, atol=1e-3)


def test_a_picture_gets_the_same_matte_alone_and_in_any_company() -> None:
    samples = [render_sample(np.random.default_rng([7, i]), 240, 320) for i in range(4)]
    pictures = [Picture(s.image) for s in samples]
    with Engine(EngineOptions(batch=4, max_wait=30)) as engine:
        alone = [engine.submit(p).result().pixels for p in pictures]
        with engine.coming() as last:  # holds the batch open until all four are in
            promises = [engine.submit(p) for p in pictures[:3]]
            together = [p.result().pixels for p in [*promises, last(pictures[3])]]
        assert engine.submit(pictures[0]).result().stats is not None
    for a, b in zip(alone, together, strict=True):
        assert np.abs(a[..., 3].astype(int) - b[..., 3]).max() <= 1


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not hold the weights of CV-UNet lite"):
        load_network(replace(resolve("nano"), size="lite"))
    with pytest.raises(ModelError, match="unknown size"):
        load_network(replace(resolve("nano"), size="giant"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_matte_as_the_cpu() -> None:
    picture = Picture(render_sample(np.random.default_rng(3), 480, 640).image)
    with Engine(EngineOptions(device="cpu")) as cpu, Engine(EngineOptions(device="cuda")) as gpu:
        one, two = (e.submit(picture).result().pixels[..., 3].astype(int) for e in (cpu, gpu))
    assert np.abs(one - two).mean() < 0.5
