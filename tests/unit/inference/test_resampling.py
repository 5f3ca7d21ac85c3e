"""Resizing and sums over windows."""

import torch

from inference.resampling import box_sum, resize, resize_pixels, sample, to_canvas


def test_box_sum_is_the_sum_over_the_window() -> None:
    x = torch.rand(1, 2, 9, 13)
    wanted = torch.nn.functional.avg_pool2d(x, 5, 1, 2, divisor_override=1)
    assert torch.allclose(box_sum(x, 2), wanted, atol=1e-5)


def test_a_radius_beyond_the_picture_sums_all_of_it() -> None:
    x = torch.rand(1, 1, 4, 6)
    assert torch.allclose(box_sum(x, 50), x.sum().expand_as(x), atol=1e-5)


def test_resize_keeps_uint8_on_the_cpu() -> None:
    assert resize(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), (10, 10)).dtype == torch.uint8


def test_resize_pixels_gives_contiguous_bytes() -> None:
    pixels = torch.randint(0, 256, (41, 30, 4), dtype=torch.uint8)
    resized = resize_pixels(pixels, (20, 15))
    assert resized.shape == (20, 15, 4) and resized.dtype == torch.uint8 and resized.is_contiguous()
    assert resize_pixels(pixels, (41, 30)) is pixels


def test_a_canvas_has_three_planes_in_0_to_1() -> None:
    canvas = to_canvas(torch.full((8, 6, 4), 255, dtype=torch.uint8), (4, 4), torch.float32)
    assert canvas.shape == (1, 3, 4, 4) and torch.equal(canvas, torch.ones_like(canvas))


def test_samples_are_those_of_the_enlarged_planes() -> None:
    planes, shape = torch.rand(1, 2, 5, 7), torch.Size((40, 63))
    enlarged = torch.nn.functional.interpolate(planes, size=shape, mode="bilinear")[0].flatten(1)
    indices = torch.tensor([0, 62, 63, 1000, 40 * 63 - 1])
    assert torch.allclose(sample(planes, indices, shape), enlarged[:, indices].T, atol=1e-5)
