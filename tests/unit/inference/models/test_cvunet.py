"""The network of CV-UNet: shapes, sizes, folding of batch norms, loading."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.errors import ModelError
from inference.models.cvunet import SIZES, CVUNet, lift, load_network, pyramid
from inference.models.registry import CATALOGUE, resolve


def megabytes(network: torch.nn.Module) -> float:
    return sum(p.numel() * 4 for p in network.parameters()) / 1e6


@pytest.mark.parametrize("size", CATALOGUE, ids=lambda s: s.name)
def test_weights_have_the_size_that_the_registry_states(size) -> None:
    with torch.device("meta"):
        network = CVUNet(SIZES[size.name])
    assert megabytes(network) == pytest.approx(size.megabytes, rel=0.05)


def test_lite_and_full_stay_within_their_budgets() -> None:
    with torch.device("meta"):
        assert megabytes(CVUNet(SIZES["lite"])) <= 80
        assert 190 <= megabytes(CVUNet(SIZES["full"])) <= 210


@pytest.mark.parametrize("size", [(64, 64), (97, 131), (300, 200), (1, 1), (641, 33)])
def test_refine_returns_the_pictures_own_size(size: tuple[int, int]) -> None:
    network = CVUNet(SIZES["nano"]).eval()
    with torch.inference_mode():
        coarse = network.coarse(torch.rand(1, 3, 128, 192))
        levels = network.refine(torch.rand(1, 3, *size), *coarse)
    assert levels[-1].logits.shape == (1, 1, *size)
    assert lift(levels[0], torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_the_pyramid_ends_at_the_picture_and_starts_below_the_floor() -> None:
    levels = pyramid(torch.rand(1, 3, 500, 1001), floor=320)
    assert [tuple(level.shape[-2:]) for level in levels] == [(125, 251), (250, 501), (500, 1001)]


def test_folding_the_batch_norms_changes_nothing() -> None:
    network = load_network(resolve("nano")).eval()
    picture = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        plain = network.refine(picture, *network.coarse(picture))[-1].logits
        folded = network.fold().refine(picture, *network.coarse(picture))[-1].logits
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert torch.allclose(plain, folded, atol=1e-3)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not hold the weights of CV-UNet lite"):
        load_network(replace(resolve("nano"), size="lite"))
    with pytest.raises(ModelError, match="unknown size"):
        load_network(replace(resolve("nano"), size="giant"))
