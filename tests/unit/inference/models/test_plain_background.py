"""Broad undecided areas on a plain background are decided by colour, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.islands import CLEAR
from inference.models.plain_background import FILLED, decide_by_background

SURE, UNSURE, NOTHING = 6.0, 0.3, -6.0
PAPER = (0.96, 0.95, 0.93)
GREEN = (0.10, 0.45, 0.15)
OBJECT = (slice(30, 90), slice(30, 90))
AREA = (slice(50, 70), slice(50, 70))
"""Within the object, in pixels of the matte."""
INSIDE = (slice(51, 69), slice(51, 69))
"""All of it but the pixels that touch the object."""


def picture(colour: tuple[float, float, float] = PAPER, seed: int = 1) -> Tensor:
    """Paper 1 x 3 x 240 x 240 under uneven light, with noise, and a red square on it; `colour` fills its middle."""
    plane = torch.empty(1, 3, 120, 120)
    for channel in range(3):
        plane[:, channel] = PAPER[channel]
        plane[:, channel, *OBJECT] = (0.7, 0.1, 0.1)[channel]
        plane[:, channel, *AREA] = colour[channel]
    light = torch.linspace(1.0, 0.85, 120)[:, None].expand(120, 120)
    noise = torch.randn(1, 3, 240, 240, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(plane * light, scale_factor=2) + 0.01 * noise).clamp(0, 1)


def matte(area: tuple[slice, slice] = AREA, logit: float = UNSURE) -> Tensor:
    logits = torch.full((1, 1, 120, 120), NOTHING)
    logits[0, 0, *OBJECT] = SURE
    logits[0, 0, *area] = logit
    return logits


@pytest.fixture(params=[True, False], ids=["one by one", "together"])
def decide(request: pytest.FixtureRequest):
    return lambda logits, shown: decide_by_background(logits.clone(), shown, one_by_one=request.param)


def test_what_has_the_backgrounds_colour_is_a_hole(decide) -> None:
    decided = decide(matte(), picture())
    assert (decided[..., *INSIDE] == CLEAR).all()
    decided[..., *INSIDE] = UNSURE
    assert torch.equal(decided, matte()), "and the pixels beside the object are left to the edge head"


def test_what_has_another_colour_is_the_object(decide) -> None:
    decided = decide(matte(), picture(GREEN))
    assert (decided[..., *AREA] == FILLED).all()
    assert torch.equal(decided.where(matte() != UNSURE, matte()), matte())


def test_texture_is_the_object_whatever_its_mean_colour(decide) -> None:
    stripes = picture((0.5, 0.49, 0.48))
    stripes[..., 100:140, 100:140] += 0.3 * (-1.0) ** (torch.arange(40) // 4)
    decided = decide(matte(), stripes)
    assert (decided[..., 55:65, 55:65] == FILLED).all()


@pytest.mark.parametrize(
    ("logits", "shown"),
    [
        (matte(), picture((0.62, 0.61, 0.60))),
        (matte((slice(50, 70), slice(50, 53))), picture()),
        (matte(logit=SURE), picture()),
        (matte(logit=2.0), picture()),
        (matte(logit=-1.5), picture(GREEN)),
        (matte(), torch.rand(1, 3, 240, 240, generator=torch.Generator().manual_seed(2))),
        (torch.full((1, 1, 120, 120), UNSURE), picture()),
    ],
    ids=[
        "a shadow",
        "a thin part",
        "the network is sure",
        "nearly sure that it is the object",
        "nearly sure that it is not",
        "the background is not plain",
        "no background is known",
    ],
)
def test_everything_else_stays(decide, logits: Tensor, shown: Tensor) -> None:
    assert torch.equal(decide(logits, shown), logits)


def test_a_picture_is_decided_alike_in_every_batch(decide) -> None:
    pictures = [picture(), picture(GREEN), picture((0.62, 0.61, 0.60))]
    together = decide(matte().repeat(3, 1, 1, 1), torch.cat(pictures))
    assert torch.equal(together, torch.cat([decide(matte(), one) for one in pictures]))


def test_sixteen_bits_decide_alike(decide) -> None:
    logits = decide(matte().bfloat16(), picture(GREEN).bfloat16())
    assert logits.dtype == torch.bfloat16
    assert torch.equal(logits > 0, decide(matte(), picture(GREEN)) > 0)


def test_both_ways_find_the_same() -> None:
    logits = torch.randn(2, 1, 120, 120, generator=torch.Generator().manual_seed(3)).cumsum(2) - 3
    shown = torch.cat([picture(GREEN), picture()])
    assert torch.equal(*(decide_by_background(logits.clone(), shown, one_by_one=way) for way in (True, False)))
