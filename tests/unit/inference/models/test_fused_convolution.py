"""Fused convolutions compute what the network computes without them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from inference.kernels import Kernels
from inference.models import fused_convolution
from inference.models.cvunet import SIZES, CVUNet, channels_last
from inference.models.fused_convolution import fusing_works
from inference.models.native import CANNOT_FUSE, CVUNetModel
from inference.models.registry import resolve

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", ["nano", "lite"])
@torch.inference_mode()
def test_the_fused_network_gives_the_same_result(kernels: Kernels, size: str) -> None:
    network = CVUNet(SIZES[size]).eval().requires_grad_(False).fold()
    canvas = torch.rand(1, 3, 32, 64).contiguous(memory_format=torch.channels_last)
    plain: Sequence[Tensor] = channels_last(network).coarse(canvas)
    for fused, wanted in zip(network.fuse(kernels).coarse(canvas), plain, strict=True):
        assert (fused - wanted).abs().max() <= 1e-3 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("size", ["nano", "lite"])
@torch.inference_mode()
def test_products_of_matrices_give_the_same_result(size: str) -> None:
    network = CVUNet(SIZES[size]).eval().requires_grad_(False).fold()
    canvas = torch.rand(2, 3, 32, 64).contiguous(memory_format=torch.channels_last)
    plain: Sequence[Tensor] = channels_last(network).coarse(canvas)
    for product, wanted in zip(network.multiply().coarse(canvas), plain, strict=True):
        assert product.is_contiguous(memory_format=torch.channels_last)
        assert (product - wanted).abs().max() <= 1e-3 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_installed_torch_can_fuse(dtype: torch.dtype) -> None:
    assert fusing_works(dtype)


def test_a_torch_that_cannot_fuse_is_named_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a torch without the operation, the model runs, and says once why it takes longer."""

    def missing(*args: object) -> Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_convolution_pointwise'")

    monkeypatch.setattr(fused_convolution, "pointwise", missing)
    model = CVUNetModel(resolve("nano"))
    model.load(CPU)
    assert model.slowdowns == (CANNOT_FUSE,)
    with torch.inference_mode():
        assert model.coarse(torch.rand(1, 3, 32, 64, dtype=model.dtype))[0].shape == (1, 1, 16, 32)


@torch.inference_mode()
def test_a_matte_does_not_depend_on_its_batch(kernels: Kernels) -> None:
    model = CVUNetModel(resolve("nano"))
    model.load(CPU)
    model.use(model.network.float(), kernels)
    canvases = torch.rand(3, 3, 64, 96)
    pictures = [torch.randint(0, 256, (200, 300, 4), dtype=torch.uint8) for _ in canvases]
    together = model.coarse(canvases)
    for index, picture in enumerate(pictures):
        alone = model.refine(picture, model.coarse(canvases[index : index + 1]))
        beside = model.refine(picture, [part[index : index + 1] for part in together])
        assert (alone.int() - beside.int()).abs().max() <= 1
