"""The sizes to which pictures are scaled."""

from hypothesis import given
from hypothesis import strategies as st

from inference.canvas import DETAIL_LIMIT, DETAIL_SIDE, SHORTEST, STEP, canvas_size, canvases, detail_size

sides = st.integers(1, 20_000)


def test_a_square_picture_gets_a_square_canvas() -> None:
    assert canvas_size(1000, 1000, 320) == (320, 320)


def test_a_canvas_has_the_pictures_orientation() -> None:
    assert canvas_size(1920, 1080, 320) == (192, 320)
    assert canvas_size(1080, 1920, 320) == (320, 192)


@given(sides, sides, st.sampled_from([128, 192, 320, 512, 1024]))
def test_every_canvas_is_one_of_a_few_shapes(width: int, height: int, side: int) -> None:
    size = canvas_size(width, height, side)
    assert size in canvases(side)
    assert max(size) == side
    assert min(size) % STEP == 0
    assert min(size) >= SHORTEST


@given(st.integers(600, 5000), st.floats(1.0, 2.5))
def test_common_pictures_are_squeezed_by_a_fifth_at_the_most(width: int, ratio: float) -> None:
    height = round(width / ratio)
    rows, columns = canvas_size(width, height, 320)
    assert 0.79 < (columns / rows) / (width / height) < 1.26


def test_a_small_canvas_has_one_shape() -> None:
    assert canvases(128) == [(128, 128)]
    assert canvas_size(500, 100, 64) == (64, 64)


def test_pictures_up_to_the_limit_keep_their_detail() -> None:
    assert detail_size(DETAIL_LIMIT, 100) == (100, DETAIL_LIMIT)
    assert detail_size(DETAIL_LIMIT + 1, DETAIL_LIMIT + 1) == (DETAIL_SIDE, DETAIL_SIDE)
    assert detail_size(6000, 4000) == (1024, 1536)


@given(sides, sides)
def test_detail_is_never_empty_and_never_larger_than_the_picture(width: int, height: int) -> None:
    rows, columns = detail_size(width, height)
    assert 1 <= rows <= height
    assert 1 <= columns <= width
    assert max(rows, columns) <= DETAIL_LIMIT
