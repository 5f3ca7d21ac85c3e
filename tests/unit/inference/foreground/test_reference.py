"""Foreground colour estimation: cut-outs have no halos."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.foreground import reference
from inference.resampling import box_sum, resize
from inference.rgba import as_bytes, rgb_to_rgbx


def cut_out(pixels: Tensor, alpha: Tensor) -> Tensor:
    """Like `reference.cut_out`, but on a copy."""
    picture = rgb_to_rgbx(pixels)
    reference.cut_out(picture, alpha)
    return picture


def disc(size: int, soft: float) -> NDArray[np.float32]:
    """Alpha of a disc with an edge `soft` pixels wide."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    distance = np.hypot(x - size / 2, y - size / 2)
    alpha: NDArray[np.float32] = np.clip((size / 4 - distance) / soft + 0.5, 0, 1)
    return alpha


def composite(fore: NDArray[np.float32], back: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    mixed = alpha[..., None] * fore + (1 - alpha[..., None]) * back
    return np.round(mixed * 255).astype(np.uint8)


def textured(size: int, seed: int) -> NDArray[np.uint8]:
    """A square texture: large patches of colour, finer ones on them, and grain."""
    generator = torch.Generator().manual_seed(seed)
    layers = [torch.rand(1, 3, size // step + 2, size // step + 2, generator=generator) for step in (90, 12, 1)]
    patches = [torch.nn.functional.interpolate(layer, size=(size, size), mode="bilinear") for layer in layers]
    mixed = 0.7 * patches[0] + 0.2 * patches[1] + 0.1 * patches[2]
    values: NDArray[np.uint8] = as_bytes(mixed)[0].permute(1, 2, 0).contiguous().numpy()
    return values


def test_opaque_and_transparent_pixels_keep_their_colour_exactly() -> None:
    pixels = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    alpha = torch.zeros(50, 70, dtype=torch.uint8)
    alpha[10:40, 20:60] = 255
    result = cut_out(pixels, alpha)
    assert torch.equal(result, torch.cat((pixels, alpha[..., None]), 2))


@pytest.mark.parametrize("size", [200, 1600])
def test_edges_get_the_objects_own_colour(size: int) -> None:
    red, green = np.array([0.8, 0.1, 0.1], np.float32), np.array([0.1, 0.9, 0.2], np.float32)
    alpha = disc(size, soft=size / 40)
    pixels = composite(red, green, alpha)
    result = cut_out(torch.from_numpy(pixels), as_bytes(torch.from_numpy(alpha))).numpy()
    band = (result[..., 3] > 8) & (result[..., 3] < 247)
    halo = np.abs(result[band][:, :3] / 255.0 - red).max(-1)
    naive = np.abs(pixels[band] / 255.0 - red).max(-1)
    assert halo.mean() < 0.03
    assert halo.mean() < naive.mean() / 10


def test_on_a_new_background_no_trace_of_the_old_one_is_left() -> None:
    blue, white = np.array([0.1, 0.2, 0.7], np.float32), np.ones(3, np.float32)
    alpha = disc(400, soft=12)
    result = cut_out(torch.from_numpy(composite(blue, white, alpha)), as_bytes(torch.from_numpy(alpha))).numpy() / 255.0
    for background in (np.zeros(3), np.ones(3), np.array([1.0, 0, 0])):
        shown = result[..., 3:] * result[..., :3] + (1 - result[..., 3:]) * background
        wanted = alpha[..., None] * blue + (1 - alpha[..., None]) * background
        assert np.abs(shown - wanted).max() < 0.06


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3)])
def test_tiny_pictures_work(shape: tuple[int, int]) -> None:
    result = cut_out(torch.full((*shape, 3), 90, dtype=torch.uint8), torch.full(shape, 128, dtype=torch.uint8))
    assert result.shape == (*shape, 4)
    assert (result[..., :3].int() - 90).abs().max() <= 1


def test_stripes_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.from_numpy(textured(90, 0))
    alpha = as_bytes(torch.from_numpy(disc(90, soft=20)))
    whole = cut_out(pixels, alpha)
    monkeypatch.setattr(reference, "STRIPE", 1000)
    monkeypatch.setattr(reference, "CHUNK", 70)
    assert torch.equal(cut_out(pixels, alpha), whole)


def test_an_entirely_semitransparent_picture_keeps_its_alpha_and_about_its_colour() -> None:
    pixels = torch.from_numpy(textured(64, 1))
    result = cut_out(pixels, torch.full((64, 64), 127, dtype=torch.uint8))
    assert (result[..., 3] == 127).all()
    assert (result[..., :3].int() - pixels.int()).abs().float().mean() < 40


@pytest.mark.parametrize("soft", [4, 60, 250])
def test_reduced_sizes_cost_no_accuracy(soft: float) -> None:
    """Compared with the paper's two passes at a single scale, and with the known true colours."""
    fore, back = (np.divide(textured(900, seed), 255, dtype=np.float32) for seed in (2, 3))
    alpha = disc(900, soft)
    pixels, opacity = torch.from_numpy(composite(fore, back, alpha)), as_bytes(torch.from_numpy(alpha))
    band = (opacity > 0) & (opacity < 255)
    weights = opacity[band][:, None] / 255
    ours, plain = cut_out(pixels, opacity)[band][:, :3] / 255, two_passes(pixels, opacity)[band]
    true = torch.from_numpy(fore)[band]
    assert (weights * (ours - plain)).abs().mean() < 1 / 255
    assert (weights * (ours - true)).abs().mean() < 1.05 * (weights * (plain - true)).abs().mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("size", [100, 901])
def test_a_gpu_gives_the_same(size: int) -> None:
    pixels, alpha = torch.from_numpy(textured(size, 4)), as_bytes(torch.from_numpy(disc(size, soft=9)))
    here, there = cut_out(pixels, alpha), cut_out(pixels.cuda(), alpha.cuda()).cpu()
    assert torch.equal(here[..., 3], there[..., 3])
    assert (here.int() - there.int()).abs().max() <= 2


def two_passes(pixels: Tensor, alpha: Tensor) -> Tensor:
    """The reference, H x W x 3 in 0..1: two passes at one size, for every pixel."""
    size = (384, 384)
    image = resize(pixels.permute(2, 0, 1)[None].float(), size).double() / 255
    small = resize(alpha[None, None].float(), size).double() / 255
    fore = back = image
    for radius in (24, 2):
        means = []
        for colours, weight in ((fore, small**3), (back, (1 - small) ** 3)):
            sums = box_sum(torch.cat((colours * weight, weight), 1), radius)
            means.append((sums[:, :3] + 1e-3 * image) / (sums[:, 3:] + 1e-3))
        fore, back = means
        if radius > 2:
            fore = (fore + small * (image - small * fore - (1 - small) * back)).clamp(0, 1)
    shape = tuple(alpha.shape)
    fore, back = (torch.nn.functional.interpolate(x, size=shape, mode="bilinear")[0].permute(1, 2, 0) for x in means)
    opacity = alpha[..., None] / 255
    return (fore + opacity * (pixels / 255 - opacity * fore - (1 - opacity) * back)).clamp(0, 1)
