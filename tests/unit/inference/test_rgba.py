"""Pixels as 32-bit words: numpy on the CPU and torch on other devices give the same results."""

import pytest
import torch
from torch import Tensor

from inference import rgba
from inference.rgba import channels, rgb_to_rgbx, semitransparent_indices, words

SHAPES = [(1, 1), (1, 7), (9, 1), (3, 5), (8, 8), (301, 257)]


@pytest.fixture(params=["cpu", "device"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each implementation, on tensors of the CPU."""
    monkeypatch.setattr(rgba, "_on_cpu", lambda values: request.param == "cpu")


def picture(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Random colours, and an alpha that is 0 or 255 nearly everywhere, in runs, like a matte."""
    generator = torch.Generator().manual_seed(height * width)
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
    levels = torch.randint(0, 40, (-(-height * width // 5),), generator=generator)
    alpha = torch.where(levels < 15, 0, torch.where(levels < 36, 255, levels * 6)).to(torch.uint8)
    return pixels, alpha.repeat_interleave(5)[: height * width].view(height, width)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("shape", SHAPES)
def test_converting_to_rgbx_keeps_every_colour(shape: tuple[int, int]) -> None:
    pixels, _ = picture(*shape)
    result = rgb_to_rgbx(pixels)
    assert result.is_contiguous() and result.shape == (*shape, 4)
    assert torch.equal(result[..., :3], pixels)


@pytest.mark.usefixtures("implementation")
def test_views_of_larger_pictures_can_be_converted() -> None:
    pixels, _ = picture(40, 50)
    assert torch.equal(rgb_to_rgbx(pixels[3:, 5:-1])[..., :3], pixels[3:, 5:-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_words_hold_red_green_and_blue(shape: tuple[int, int]) -> None:
    pixels, _ = picture(*shape)
    assert torch.equal(torch.stack(channels(words(rgb_to_rgbx(pixels))), -1), pixels.float())


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("shape", SHAPES)
def test_semitransparent_pixels_are_found_anywhere(shape: tuple[int, int]) -> None:
    _, alpha = picture(*shape)
    for some in (alpha, alpha.flatten()[3:], torch.full(shape, 7, dtype=torch.uint8), alpha // 255 * 255):
        wanted = ((some > 0) & (some < 255)).flatten().nonzero()[:, 0]
        assert torch.equal(semitransparent_indices(some), wanted)
