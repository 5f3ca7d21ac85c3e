"""Shifting planes finds what pooling finds."""

import pytest
import torch
import torch.nn.functional as F

from inference.neighbourhoods import covered, mean_around, widest


@pytest.mark.parametrize("radius", [0, 1, 3, 5])
def test_the_widest_is_what_pooling_finds(radius: int) -> None:
    x = torch.randn(2, 1, 9, 31)
    assert torch.equal(widest(x, radius), widest(x, radius, pooled=True))
    assert torch.equal(widest(x, radius), F.max_pool2d(x, 2 * radius + 1, 1, radius))


@pytest.mark.parametrize("radius", [0, 1, 2, 4])
def test_the_mean_is_what_pooling_finds_on_a_continued_plane(radius: int) -> None:
    x = torch.randn(2, 3, 9, 31)
    continued = F.pad(x, (radius,) * 4, mode="replicate")
    assert torch.allclose(mean_around(x, radius), mean_around(x, radius, pooled=True), atol=1e-6)
    assert torch.allclose(mean_around(x, radius), F.avg_pool2d(continued, 2 * radius + 1, 1), atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2])
def test_squares_that_are_covered_are_the_same_for_both_ways(radius: int) -> None:
    mask = (torch.rand(2, 1, 19, 31, generator=torch.Generator().manual_seed(radius)) > 0.04).float()
    full = F.conv2d(mask, torch.ones(1, 1, 2 * radius + 1, 2 * radius + 1), padding=radius) == (2 * radius + 1) ** 2
    assert full.any() and not full.all()
    for pooled in (False, True):
        assert torch.equal(covered(mask, radius, pooled) == 1, full)
