"""Where an object goes when a request, and not a setting, says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.compose.frame import Frame
from inference.compose.placement import NO_MARGINS, Length, Margins, Placement, place
from inference.picture import Box

SOURCE = (400, 200)
BOX = Box(100, 50, 200, 100)
WHOLE = Box(0, 0, 400, 200)
TENTH = Length(0.1, is_part=True)


@pytest.mark.parametrize(
    ("placement", "frame"),
    [
        (Placement(), Frame(400, 200, WHOLE, WHOLE)),
        (Placement(crop=NO_MARGINS), Frame(100, 50, BOX, Box(0, 0, 100, 50))),
        (
            Placement(crop=Margins(Length(1), Length(2), Length(3), Length(4))),
            Frame(106, 54, BOX, Box(4, 1, 104, 51)),
        ),
        (Placement(crop=Margins(TENTH, TENTH, TENTH, TENTH)), Frame(120, 60, BOX, Box(10, 5, 110, 55))),
        (Placement(scale=1.0), Frame(400, 200, BOX, WHOLE)),
        (Placement(scale=0.5), Frame(400, 200, BOX, Box(100, 50, 300, 150))),
        (Placement(scale=0.5, position=(1, 0)), Frame(400, 200, BOX, Box(200, 0, 400, 100))),
        (Placement(position=(0, 1)), Frame(400, 200, BOX, Box(0, 150, 100, 200))),
        (Placement(max_pixels=20_000), Frame(200, 100, WHOLE, Box(0, 0, 200, 100))),
        (Placement(max_pixels=80_000), Frame(400, 200, WHOLE, WHOLE)),
        (Placement(crop=NO_MARGINS, max_pixels=1_250), Frame(50, 25, BOX, Box(0, 0, 50, 25))),
    ],
)
def test_the_object_goes_where_it_is_wanted(placement: Placement, frame: Frame) -> None:
    assert place(placement, SOURCE, BOX) == frame


def test_without_an_object_the_picture_is_kept() -> None:
    placement = Placement(crop=NO_MARGINS, scale=0.5)
    assert place(placement, SOURCE, None) == Frame(400, 200, WHOLE, WHOLE)


def test_only_the_default_is_the_whole_picture() -> None:
    assert Placement().is_whole
    assert not Placement(max_pixels=1).is_whole


sizes = st.integers(1, 300)
parts = st.floats(0, 1)


@given(
    st.tuples(sizes, sizes),
    st.tuples(parts, parts, parts, parts),
    st.one_of(st.none(), st.floats(0.1, 1)),
    st.one_of(st.none(), st.tuples(parts, parts)),
    st.one_of(st.none(), st.integers(1, 100_000)),
)
def test_any_object_in_any_picture_stays_inside(
    source: tuple[int, int],
    corners: tuple[float, float, float, float],
    scale: float | None,
    position: tuple[float, float] | None,
    most: int | None,
) -> None:
    left, top = int(corners[0] * (source[0] - 1)), int(corners[1] * (source[1] - 1))
    right, bottom = (
        left + 1 + int(corners[2] * (source[0] - left - 1)),
        top + 1 + int(corners[3] * (source[1] - top - 1)),
    )
    frame = place(Placement(scale=scale, position=position, max_pixels=most), source, Box(left, top, right, bottom))
    assert frame.width >= 1 and frame.height >= 1
    assert most is None or frame.width * frame.height <= max(most, frame.width, frame.height)
    assert frame.target.left >= 0 and frame.target.top >= 0
    assert frame.target.width >= 1 and frame.target.height >= 1
    assert frame.target.right <= frame.width and frame.target.bottom <= frame.height
