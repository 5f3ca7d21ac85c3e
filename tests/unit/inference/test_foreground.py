"""Straight alpha without halos."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.foreground import box_sum, cut_out, resize


def disc(size: int, soft: float) -> NDArray[np.float32]:
    """Alpha of a disc with an edge `soft` pixels wide."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    distance = np.hypot(x - size / 2, y - size / 2)
    alpha: NDArray[np.float32] = np.clip((size / 4 - distance) / soft + 0.5, 0, 1)
    return alpha


def composite(fore: NDArray[np.float32], back: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    mixed = alpha[..., None] * fore + (1 - alpha[..., None]) * back
    return np.round(mixed * 255).astype(np.uint8)


def test_opaque_stays_to_the_bit_and_transparent_is_zero() -> None:
    pixels = torch.randint(0, 256, (50, 70, 3), dtype=torch.uint8)
    alpha = torch.zeros(50, 70)
    alpha[10:40, 20:60] = 1
    result = cut_out(pixels, alpha)
    assert torch.equal(result[10:40, 20:60, :3], pixels[10:40, 20:60])
    assert torch.equal(result[..., 3], (alpha * 255).byte())
    assert not result[alpha == 0].any()


@pytest.mark.parametrize("size", [200, 1600])
def test_the_edge_gets_the_objects_own_colour(size: int) -> None:
    red, green = np.array([0.8, 0.1, 0.1], np.float32), np.array([0.1, 0.9, 0.2], np.float32)
    alpha = disc(size, soft=size / 40)
    pixels = composite(red, green, alpha)
    result = cut_out(torch.from_numpy(pixels), torch.from_numpy(alpha)).numpy()
    band = (result[..., 3] > 8) & (result[..., 3] < 247)
    halo = np.abs(result[band][:, :3] / 255.0 - red).max(-1)
    naive = np.abs(pixels[band] / 255.0 - red).max(-1)
    assert halo.mean() < 0.03
    assert halo.mean() < naive.mean() / 10


def test_composited_anew_there_is_no_trace_of_the_old_background() -> None:
    blue, white = np.array([0.1, 0.2, 0.7], np.float32), np.ones(3, np.float32)
    alpha = disc(400, soft=12)
    result = cut_out(torch.from_numpy(composite(blue, white, alpha)), torch.from_numpy(alpha)).numpy() / 255.0
    for ground in (np.zeros(3), np.ones(3), np.array([1.0, 0, 0])):
        shown = result[..., 3:] * result[..., :3] + (1 - result[..., 3:]) * ground
        wanted = alpha[..., None] * blue + (1 - alpha[..., None]) * ground
        assert np.abs(shown - wanted).max() < 0.06


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (2, 3)])
def test_tiny_pictures_work(shape: tuple[int, int]) -> None:
    result = cut_out(torch.full((*shape, 3), 90, dtype=torch.uint8), torch.full(shape, 0.5))
    assert result.shape == (*shape, 4)
    assert (result[..., :3].int() - 90).abs().max() <= 1


def test_box_sum_is_the_sum_over_the_window() -> None:
    x = torch.rand(1, 2, 9, 13)
    wanted = torch.nn.functional.avg_pool2d(x, 5, 1, 2, divisor_override=1)
    assert torch.allclose(box_sum(x, 2), wanted, atol=1e-5)


def test_a_radius_beyond_the_picture_sums_all_of_it() -> None:
    x = torch.rand(1, 1, 4, 6)
    assert torch.allclose(box_sum(x, 50), x.sum().expand_as(x), atol=1e-5)


def test_resize_keeps_uint8_on_the_cpu() -> None:
    assert resize(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), (10, 10)).dtype == torch.uint8
