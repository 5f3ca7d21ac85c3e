"""The edge head refines windows exactly as it refines whole pictures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from numpy.random import default_rng
from torch import Tensor

from inference.models import band
from inference.models.cvunet import CONTRAST, lift, normalise
from inference.models.native import CVUNetModel
from inference.resampling import resize_pixels, to_canvas
from inference.rgba import channels, rgb_to_rgbx, words
from inference.synthetic import render_sample

SIZES = [(270, 480), (481, 333), (600, 800), (33, 700), (20, 30), (5, 7), (1, 1)]
LARGE = [(700, 1300), (1081, 1919), (1500, 1100), (2100, 40), (9, 4100)]


def pixels_of(height: int, width: int) -> Tensor:
    """H x W x 4."""
    return rgb_to_rgbx(
        resize_pixels(torch.from_numpy(render_sample(default_rng([5, height]), 320, 480).image), (height, width))
    )


def whole(model: CVUNetModel, pixels: Tensor, coarse: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The reference, as training applies the head: to every pixel of every level, then lifted to the picture.

    Returns alpha, and where the last level's matte is undecided; elsewhere `band` does not lift it.
    """
    height, width = pixels.shape[:2]
    levels = band.pyramid(words(pixels), max(coarse[0].shape[-2:]))
    seen = band.refined_levels(levels)
    factor = 1 << len(levels) - seen
    level = model.network.refine(as_picture(levels[seen - 1]), *coarse)[-1]
    lifted = lift(level, normalise(as_picture(band.pad_to_multiple(words(pixels), factor))))
    alpha = level.logits.sigmoid() if factor == 1 else lifted
    undecided = F.interpolate((F.max_pool2d(level.logits.abs(), 3, 1, 1) < band.DECIDED).float(), scale_factor=factor)
    return band.quantise(alpha)[0, 0, :height, :width], undecided[0, 0, :height, :width]


def as_picture(level: Tensor) -> Tensor:
    return torch.stack(channels(level))[None] / 255


@pytest.mark.parametrize(("height", "width"), SIZES + LARGE)
@torch.inference_mode()
def test_windows_give_the_same_alpha_as_the_whole_picture(model: CVUNetModel, height: int, width: int) -> None:
    pixels = pixels_of(height, width)
    coarse = model.coarse(to_canvas(pixels, model.canvas(width, height), torch.float32))
    alpha, undecided = whole(model, pixels, coarse)
    difference = (model.refine(pixels, coarse).int() - alpha.int()).abs()
    assert (difference * undecided).max() <= 4 and difference.float().mean() < 0.2


@torch.inference_mode()
def test_the_head_computes_only_a_part_of_the_picture(model: CVUNetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = 0
    head = band.WindowHead.__call__

    def counted(self: band.WindowHead, words: Tensor, logits: Tensor, guide: Tensor) -> Tensor:
        nonlocal computed
        computed += words.numel()
        return head(self, words, logits, guide)

    monkeypatch.setattr(band.WindowHead, "__call__", counted)
    pixels = torch.full((540, 960, 4), 255, dtype=torch.uint8)
    logits = torch.full((1, 1, 96, 160), -9.0)
    logits[..., 30:60, 60:100] = 9
    alpha = model.refine(pixels, (logits, torch.zeros(1, 16, 96, 160)))
    assert 0 < computed < pixels[..., 0].numel() / 2
    assert alpha[0, 0] == 0 and alpha[250, 480] == 255


@pytest.mark.parametrize(("height", "width"), [(481, 333), (1081, 1919)])
@torch.inference_mode()
def test_chunk_and_stripe_sizes_do_not_change_the_result(
    model: CVUNetModel, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = pixels_of(height, width)
    coarse = model.coarse(to_canvas(pixels, model.canvas(width, height), torch.float32))
    wanted, small = model.refine(pixels, coarse), band.pyramid(words(pixels), 100)[0]
    monkeypatch.setattr(band, "on_cpu", lambda values: False)  # chunks and stripes as on a GPU
    assert (model.refine(pixels, coarse).int() - wanted.int()).abs().max() <= 1
    assert torch.equal(band.pyramid(words(pixels), 100)[0], small)


def test_decided_logits_become_0_or_255() -> None:
    assert band.quantise(torch.tensor([-band.DECIDED, band.DECIDED]).sigmoid()).tolist() == [0, 255]
    assert torch.tensor([band.SNAP]).logit().abs() < band.DECIDED


def test_upsampled_alpha_follows_edges_that_only_the_full_picture_shows() -> None:
    """Given a small picture in which alpha is the brightness, the same holds for one four times as large."""
    grey = torch.randint(0, 256, (64, 96), dtype=torch.uint8)
    large = words(grey[..., None].repeat(1, 1, 4))
    small = band.halve(band.halve(large))
    slopes = torch.full((16, 24, 3), 1 / (3 * CONTRAST))
    logits = (channels(small)[0][..., None] / 255).clamp(0.01, 0.99).logit()
    alpha = band.upsample(large, small, torch.cat((logits, slopes), -1).half(), 4)
    wanted = band.quantise(grey / 255)
    assert (alpha.int() - wanted.int()).abs().max() <= 4


def test_a_decided_matte_has_no_undecided_cells(model: CVUNetModel) -> None:
    assert list(band.undecided_cells(*band.cell_bounds(torch.full((40, 60), 8.0), 480, 720))) == []
    alpha = model.refine(
        torch.zeros(480, 720, 4, dtype=torch.uint8), (torch.full((1, 1, 40, 60), 8.0), torch.zeros(1, 16, 40, 60))
    )
    assert (alpha == 255).all()


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7), (300, 200)])
def test_halving_averages_each_block(size: tuple[int, int]) -> None:
    pixels = torch.randint(0, 256, (*size, 4), dtype=torch.uint8)
    wanted = F.avg_pool2d(pixels.permute(2, 0, 1)[None, :3].float(), 2, ceil_mode=True, count_include_pad=False)
    difference = torch.stack(channels(band.halve(words(pixels))))[None] - wanted
    assert difference.abs().max() <= 0.75
    assert size[0] < 100 or difference.mean().abs() < 0.01
