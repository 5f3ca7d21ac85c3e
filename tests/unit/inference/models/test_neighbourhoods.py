"""Shifting planes finds what pooling finds."""

import pytest
import torch
import torch.nn.functional as F

from inference.models.neighbourhoods import mean_around, widest


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
