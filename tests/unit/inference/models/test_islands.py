"""Islands of a coarse matte: the unsure ones go where another is sure, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.kernels import Kernels
from inference.models.islands import CLEAR, drop_unsure_islands

SURE, UNSURE, NOTHING = 6.0, 1.0, -6.0


def matte(*islands: tuple[slice, slice, float]) -> Tensor:
    logits = torch.full((1, 1, 64, 96), NOTHING)
    for rows, columns, logit in islands:
        logits[0, 0, rows, columns] = logit
    return logits


OBJECT = (slice(10, 40), slice(10, 40), SURE)
ROCK = (slice(20, 40), slice(60, 80), UNSURE)
SECOND = (slice(20, 40), slice(60, 80), SURE)
FOOT = (slice(44, 48), slice(20, 26), UNSURE)


@pytest.fixture(params=["torch", "kernels"])
def drop(request: pytest.FixtureRequest):
    used = request.getfixturevalue("kernels") if request.param == "kernels" else None
    return lambda logits: drop_unsure_islands(logits.clone(), used)


def test_what_the_network_is_not_sure_of_is_dropped_beside_what_it_is_sure_of(drop) -> None:
    result = drop(matte(OBJECT, ROCK))
    assert (result[..., 16:44, 56:84] == CLEAR).all(), "the rock and a margin around it"
    expected = matte(OBJECT)
    expected[..., 16:44, 56:84] = CLEAR
    assert torch.equal(result, expected)


@pytest.mark.parametrize(
    "islands",
    [(OBJECT, SECOND), (ROCK,), (OBJECT, FOOT), ()],
    ids=["several objects", "nothing is sure", "a small part of the object", "nothing is there"],
)
def test_everything_else_stays(drop, islands: tuple[tuple[slice, slice, float], ...]) -> None:
    assert torch.equal(drop(matte(*islands)), matte(*islands))


def test_the_margin_ends_where_the_object_is_as_near(drop) -> None:
    near = (slice(10, 40), slice(44, 70), UNSURE)
    result = drop(matte(OBJECT, near))
    assert torch.equal(result[..., :44], matte(OBJECT)[..., :44])
    assert (result[..., 10:40, 44:70] == CLEAR).all()


def test_pictures_of_a_batch_do_not_change_each_other(drop) -> None:
    pictures = [matte(OBJECT, ROCK), matte(ROCK), matte(OBJECT, SECOND)]
    together = drop(torch.cat(pictures))
    assert all(torch.equal(one, drop(alone)[0]) for one, alone in zip(together, pictures, strict=True))


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), cells=st.integers(2, 40), height=st.integers(1, 112), dtype=st.booleans())
def test_the_kernel_does_what_torch_does(kernels: Kernels, seed: int, cells: int, height: int, dtype: bool) -> None:
    patches = torch.randn(2, 1, cells, cells, generator=torch.Generator().manual_seed(seed)) * 5 - 2
    logits = F.interpolate(patches, size=(2 * height, 224), mode="bicubic")
    logits = logits.bfloat16() if dtype else logits
    assert torch.equal(drop_unsure_islands(logits.clone(), kernels), drop_unsure_islands(logits.clone()))
