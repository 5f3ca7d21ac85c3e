"""Coverage and bounding box of a cut-out, against what a look at every pixel gives."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.compiled import pixel_kernels, without_kernels
from inference.picture import VISIBLE, Box, Cutout


@given(
    st.integers(1, 140), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0, VISIBLE - 1, VISIBLE, 255])
)
def test_box_and_coverage_are_those_of_the_pixels(height: int, width: int, seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 4), np.uint8)
    alpha = random.integers(0, most + 1, (height, width)) * (random.random((height, width)) < 0.2)
    pixels[..., 3] = alpha
    rows, columns = np.nonzero(alpha >= VISIBLE)
    wanted = (
        Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1) if rows.size else None
    )
    for compiled in (nullcontext(), without_kernels()):
        with compiled:
            assert Cutout(pixels).box == wanted
            assert Cutout(pixels).coverage == pytest.approx(alpha.mean() / 255)


@pytest.mark.usefixtures("kernels")
def test_the_compiled_measures_are_used_and_take_only_rows_of_words() -> None:
    compiled = pixel_kernels()
    assert compiled is not None
    for wrong in (np.zeros((4, 6), np.uint32)[:, ::2], np.zeros((4, 6, 1), np.uint32)):
        with pytest.raises(ValueError, match="contiguous"):
            compiled.measure_alpha(wrong, 1)


def test_pixels_that_are_not_contiguous_are_measured_as_well() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[2:4, 4:8, 3] = 255
    assert Cutout(pixels[::2, ::2]).box == Box(2, 1, 4, 2)
    assert Cutout(pixels[:, 4:]).coverage == 0.25
