"""With compiled kernels, a cut-out is the reference, within 1 of 255."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.foreground import fused, reference
from inference.kernels import Kernels, KernelsUnavailable, library

SIZES = [(1, 1), (1, 9), (20, 30), (33, 400), (2100, 40), (721, 1281)]


def example(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A picture H x W x 4 with patches, and alpha H x W that is 0, 255 or in between."""
    generator = torch.Generator().manual_seed(seed)
    patches = F.interpolate(torch.rand(1, 5, 5, 8, generator=generator), size=(height, width), mode="bicubic")
    alpha = (patches[0, 4] * 900 - 320).clamp(0, 255).byte()
    picture = (patches[0, :4] * 255 + torch.randint(-9, 9, (4, height, width), generator=generator)).clamp(0, 255)
    return picture.byte().permute(1, 2, 0).contiguous(), alpha


def difference(kernels: Kernels, picture: Tensor, alpha: Tensor) -> int:
    """The largest difference between both ways, in levels of 255."""
    plain, compiled = picture.clone(), picture.clone()
    reference.cut_out(plain, alpha)
    fused.cut_out_with(kernels, compiled, alpha)
    return int((plain.int() - compiled.int()).abs().max())


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size_has_the_same_colours(kernels: Kernels, height: int, width: int) -> None:
    assert difference(kernels, *example(height, width)) <= 1


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_empty_full_and_half_mattes_have_the_same_colours(kernels: Kernels, alpha: int) -> None:
    picture, _ = example(90, 120)
    assert difference(kernels, picture, torch.full((90, 120), alpha, dtype=torch.uint8)) <= 1


@settings(max_examples=20)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 9999))
def test_drawn_examples_have_the_same_colours(kernels: Kernels, height: int, width: int, seed: int) -> None:
    assert difference(kernels, *example(height, width, seed)) <= 1


def test_without_kernels_torch_cuts_out(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, alpha = example(40, 60)
    wanted = picture.clone()
    reference.cut_out(wanted, alpha)
    monkeypatch.setattr(library, "_loaded", lambda: KernelsUnavailable("missing"))
    fused.cut_out(picture, alpha)
    assert torch.equal(picture, wanted)
