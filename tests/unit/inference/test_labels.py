"""Islands of a mask get a number each."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.labels import ROUNDS, label
from inference.review import signals

Mask = NDArray[np.uint8]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 112), width=st.integers(1, 112))
def test_islands_are_those_that_opencv_finds(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), rng.uniform(0.3, 6))
    mask = (noise > np.quantile(noise, rng.uniform(0.3, 0.95))).astype(np.uint8)
    labels = label(torch.from_numpy(mask)[None, None] > 0)[0, 0].numpy()
    count, truth = cv2.connectedComponents(mask)
    assert len(set(zip(labels.ravel(), truth.ravel(), strict=True))) == count


def spiral(side: int, gap: int) -> Mask:
    """One line that winds inwards, `gap` cells from turn to turn."""
    mask = np.zeros((side, side), np.uint8)
    for near in range(0, side // 2 - 2, gap):
        far = side - 1 - near
        turns = [(near, near), (far, near), (far, far), (near, far), (near, near + gap), (near + gap, near + gap)]
        cv2.polylines(mask, [np.array(turns)], False, 1)
    return mask


def snake(side: int) -> Mask:
    """One line through every second row, joined on the right and on the left in turn."""
    mask = np.zeros((side, side), np.uint8)
    mask[::2] = 1
    mask[1::4, -1] = mask[3::4, 0] = 1
    return mask[: side // 2 * 2 - 1]


@pytest.mark.parametrize(("side", "rounds"), [(112, ROUNDS), (signals.SPREAD, signals.ROUNDS)])
@pytest.mark.parametrize("turns", range(4))
def test_what_winds_is_one_island_from_whatever_corner_it_starts(side: int, rounds: int, turns: int) -> None:
    for mask in (spiral(side, 3), spiral(side, 2), snake(side)):
        turned = np.rot90(mask, turns).copy()
        assert cv2.connectedComponents(turned)[0] == 2
        assert len(label(torch.from_numpy(turned)[None, None] > 0, rounds).unique()) == 2
