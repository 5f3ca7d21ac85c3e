"""A whole batch is refined and cut out exactly as each of its pictures is alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import Tensor

from inference.foreground import batched, reference
from inference.models import band, batched_band
from inference.models.native import CVUNetModel
from inference.resampling import resize_pixels, to_canvases
from inference.rgba import rgb_to_rgbx, words
from inference.synthetic import render_sample

SIZES = [(140, 221), (97, 1101), (700, 43), (20, 30), (1, 1)]


@pytest.fixture(scope="module")
def samples() -> list[Tensor]:
    return [torch.from_numpy(render_sample(default_rng([5, number]), 140, 210).image) for number in range(3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@torch.inference_mode()
def test_a_batch_gives_each_picture_the_cut_out_that_it_gets_alone(
    model: CVUNetModel, samples: list[Tensor], size: tuple[int, int]
):
    pictures = torch.stack([rgb_to_rgbx(resize_pixels(sample, size)) for sample in samples])
    coarse = model.coarse(to_canvases(pictures, model.canvas(size[1], size[0]), model.dtype))
    together = pictures.clone()
    batched.cut_out(together, model.refine_all(together, coarse))
    for index, picture in enumerate(pictures):
        reference.cut_out(picture, model.refine(picture, [part[index : index + 1] for part in coarse]))
    difference = (pictures.int() - together.int()).abs()
    assert difference[..., 3].max() <= 1
    colours = difference[..., :3].amax(-1)  # fields of colour are rounded to bytes on the way, where it is one by one
    assert (colours <= 2).float().mean() > 0.9999
    assert colours.max() <= 3
    if min(size) > 20:
        assert ((pictures[..., 3] > 0) & (pictures[..., 3] < 255)).any(), "nothing was refined"


@torch.inference_mode()
def test_convolutions_see_few_shapes(model: CVUNetModel, samples: list[Tensor], monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    call = band.WindowHead.__call__

    def record(head: band.WindowHead, windows: Tensor, logits: Tensor, guide: Tensor) -> Tensor:
        seen.append(len(windows))
        return call(head, windows, logits, guide)

    monkeypatch.setattr(band.WindowHead, "__call__", record)
    for count in (1, 3):
        pictures = torch.stack([rgb_to_rgbx(sample) for sample in samples[:count]])
        model.refine_all(pictures, model.coarse(to_canvases(pictures, model.canvas(210, 140), model.dtype)))
    assert seen and all(windows % batched_band.WINDOWS == 0 for windows in seen)


def test_places_of_windows_are_computed_once_and_clamped_to_the_plane():
    cpu = torch.device("cpu")
    places = batched_band.window_places(70, 6, 1, cpu)
    assert places is batched_band.window_places(70, 6, 1, cpu)
    assert places.shape == (3, band.CELL + 12) and places.min() == 0 and places.max() == 69
    assert places[1].tolist() == list(range(26, 70)) and places[2, 6] == 70 - band.CELL


def test_halving_a_batch_is_halving_each_picture():
    pictures = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 31, 45, 4), np.uint8))
    halved = batched_band.halve(words(pictures))
    assert all(torch.equal(one, band.halve(words(picture))) for one, picture in zip(halved, pictures, strict=True))


@torch.inference_mode()
def test_rows_of_one_picture_are_never_mixed_with_those_of_the_next():
    fields = torch.stack([torch.full((6, 4, 5), value) for value in (0.25, 0.75)])
    pictures = torch.full((2, 40, 50, 4), 128, dtype=torch.uint8)
    batched.decontaminate_band(pictures, torch.arange(2 * 40 * 50), fields)
    assert [picture[..., :3].unique().numel() for picture in pictures] == [1, 1]
