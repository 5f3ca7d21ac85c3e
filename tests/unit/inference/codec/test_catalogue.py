"""Every kind of file that shops have is decoded to the right size, the right way up, in the right colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.codec import decode
from tests.equipment.catalogue import CATALOGUE, CHART, EDGES, IN_ADOBE, IN_LINEAR, IN_P3
from tests.equipment.colour_difference import seen_difference
from tests.equipment.encoded_pictures import far

LIMIT = 2.0
"""Of CIEDE2000, in any pixel."""
REPORTED = ("JPEG, ICC of Adobe RGB", "PNG, gAMA 1.0", "AVIF, nclx of Display P3", "CMYK JPEG, ICC")


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_kind_has_its_size_its_orientation_and_its_colours(name: str, figures: Callable[[str], None]) -> None:
    make, expected = CATALOGUE[name]
    data = make()
    pixels = decode(data).pixels
    assert pixels.shape == expected.shape
    difference = seen_difference(pixels[~EDGES], expected[~EDGES])
    assert difference < LIMIT
    if name in REPORTED:
        figures(f"catalogue, {name}: dE2000 {difference:.2f}")


def test_the_stored_colours_are_those_of_other_colour_managers() -> None:
    """Of LittleCMS with the published primaries, for the colour at the top left, within rounding."""
    assert tuple(CHART[0, 0]) == (200, 120, 90)
    for chart, stored in ((IN_ADOBE, (180, 119, 91)), (IN_LINEAR, (147, 48, 26)), (IN_P3, (189, 124, 96))):
        assert far(chart[0, 0], np.array(stored)) <= 1


@pytest.mark.parametrize("chart", [IN_ADOBE, IN_LINEAR, IN_P3])
def test_a_colour_space_that_is_ignored_would_be_noticed(chart: NDArray[np.uint8]) -> None:
    assert seen_difference(chart, CHART) > 1.5 * LIMIT
