"""With compiled kernels, alpha is that of `band`, within 1 of 255."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.kernels import Kernels
from inference.models import band, fused_band
from inference.models.cvunet import CVUNet, channels_last, load_network
from inference.models.registry import resolve
from inference.rgba import words

SIZES = [(1, 1), (1, 40), (40, 1), (5, 7), (31, 33), (64, 64), (481, 333), (33, 700), (541, 959), (2100, 40)]
WIDE = (9, 8300)
"""So wide that alpha is upsampled by the largest factor, 8."""
MATTES: dict[str, Callable[[Tensor], Tensor]] = {
    "an outline": lambda logits: logits,
    "fur everywhere": lambda logits: logits / 9,
    "empty": lambda logits: logits - 30,
    "all object": lambda logits: logits + 30,
}


@pytest.fixture(scope="module")
def network() -> CVUNet:
    """nano in 32 bits, so that differences are not due to rounding."""
    return channels_last(load_network(resolve("nano")).eval().requires_grad_(False).fold())


def example(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A picture H x W x 4 with noise and patches, logits from -9 to 9, and a guide, as of a canvas of 320."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(1, 4, 7, 9, generator=generator) * 255
    picture = F.interpolate(patches, size=(height, width), mode="bilinear") + 20 * torch.rand(
        1, 1, height, width, generator=generator
    )
    logits = F.interpolate(torch.rand(1, 1, 4, 5, generator=generator) * 18 - 9, size=(96, 160), mode="bicubic")
    guide = torch.randn(1, 16, 96, 160, generator=generator).contiguous(memory_format=torch.channels_last)
    return picture.clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous(), logits, guide


def difference(
    network: CVUNet, kernels: Kernels, picture: Tensor, logits: Tensor, guide: Tensor, fusing: bool = True
) -> Tensor:
    """The difference between both ways, H x W, in levels of 255."""
    guide = guide.to(network.edge.guide.weight.dtype)
    wanted = band.refine(words(picture), logits, guide, band.WindowHead(network.edge))
    head = fused_band.FusedHead(network.edge, kernels, fusing)
    return (fused_band.refine(words(picture), logits, guide, head).int() - wanted.int()).abs()


@pytest.mark.parametrize(("height", "width"), [*SIZES, WIDE])
@torch.inference_mode()
def test_any_size_has_the_same_alpha(network: CVUNet, kernels: Kernels, height: int, width: int) -> None:
    assert difference(network, kernels, *example(height, width)).max() <= 1


@pytest.mark.parametrize("matte", MATTES)
@torch.inference_mode()
def test_any_matte_has_the_same_alpha(network: CVUNet, kernels: Kernels, matte: str) -> None:
    picture, logits, guide = example(300, 500)
    assert difference(network, kernels, picture, MATTES[matte](logits), guide).max() <= 1


@settings(max_examples=12)
@given(height=st.integers(1, 260), width=st.integers(1, 260), seed=st.integers(0, 9999))
@torch.inference_mode()
def test_drawn_examples_have_the_same_alpha(
    network: CVUNet, kernels: Kernels, height: int, width: int, seed: int
) -> None:
    assert difference(network, kernels, *example(height, width, seed)).max() <= 1


@torch.inference_mode()
def test_without_fused_convolutions_alpha_is_the_same_too(network: CVUNet, kernels: Kernels) -> None:
    assert difference(network, kernels, *example(120, 90), fusing=False).max() <= 1


@torch.inference_mode()
def test_bfloat16_differs_by_its_own_rounding_only(network: CVUNet, kernels: Kernels) -> None:
    found = difference(copy.deepcopy(network).bfloat16(), kernels, *example(540, 960))
    assert found.max() <= 4 and found.float().mean() < 0.05


@torch.inference_mode()
def test_decided_cells_are_0_or_255_and_never_refined(
    network: CVUNet, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    refined = 0

    def convolve(self: fused_band.FusedHead, blocks: Tensor, guide: Tensor) -> Tensor:
        nonlocal refined
        refined += len(blocks)
        return torch.zeros(len(blocks), 16, 16, 16)

    monkeypatch.setattr(fused_band.FusedHead, "convolve", convolve)
    picture, logits, guide = example(540, 960)
    logits = torch.full((1, 1, 96, 160), -9.0)
    logits[..., 30:60, 60:100] = 9
    alpha = fused_band.refine(words(picture), logits, guide, fused_band.FusedHead(network.edge, kernels, True))
    assert 0 < refined < 540 * 960 / band.CELL**2 / 2
    assert alpha[0, 0] == 0 and alpha[250, 480] == 255
