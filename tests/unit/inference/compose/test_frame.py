"""Where the object goes: exact pixels for every kind of frame."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.compose import OutputSpec
from inference.compose.frame import lay_out
from inference.picture import Box

SOURCE = (800, 600)
OBJECT = Box(100, 50, 400, 250)  # 300 x 200


@pytest.mark.parametrize(
    ("options", "size", "box"),
    [
        ({}, (800, 600), (100, 50, 400, 250)),
        ({"max_side": 400}, (400, 300), (50, 25, 200, 125)),
        ({"max_side": 4000}, (800, 600), (100, 50, 400, 250)),
        ({"trim": True}, (300, 200), (0, 0, 300, 200)),
        ({"trim": True, "margin": "10px"}, (320, 220), (10, 10, 310, 210)),
        ({"trim": True, "margin": "10%"}, (360, 260), (30, 30, 330, 230)),
        ({"trim": True, "margin": "10px", "max_side": 170}, (170, 120), (10, 10, 160, 110)),
        ({"trim": True, "margin": "10%", "max_side": 180}, (180, 130), (15, 15, 165, 115)),
        ({"canvas": "1000x1000", "share": 0.9}, (1000, 1000), (50, 200, 950, 800)),
        ({"canvas": "1000x1000", "share": 0.9, "align": "foot"}, (1000, 1000), (50, 350, 950, 950)),
        ({"canvas": "1000x1000", "share": 0.9, "enlarge": False}, (1000, 1000), (350, 400, 650, 600)),
        ({"canvas": "1000x1000", "share": 0.9, "enlarge": False, "align": "foot"}, (1000, 1000), (350, 750, 650, 950)),
        ({"canvas": "1000x1000", "share": 0.9, "max_side": 500}, (500, 500), (25, 100, 475, 400)),
        ({"canvas": "200x100", "share": 1}, (200, 100), (25, 0, 175, 100)),
        ({"canvas": "1:1", "share": 0.75}, (400, 400), (50, 100, 350, 300)),
        ({"canvas": "1:1", "share": 0.75, "align": "foot"}, (400, 400), (50, 150, 350, 350)),
        ({"canvas": "1:1", "share": 0.75, "max_side": 200}, (200, 200), (25, 50, 175, 150)),
        ({"canvas": "3:4", "share": 0.75}, (400, 533), (50, 166, 350, 366)),
        ({"canvas": "1:1"}, (800, 800), (100, 150, 400, 350)),
        ({"canvas": "400x400"}, (400, 400), (50, 75, 200, 175)),
        ({"canvas": "1600x1600", "enlarge": False}, (1600, 1600), (500, 550, 800, 750)),
        ({"canvas": "1600x1600"}, (1600, 1600), (200, 300, 800, 700)),
        ({"canvas": "500x300", "trim": True, "margin": "10px"}, (500, 300), (40, 10, 460, 290)),
        ({"canvas": "500x400", "trim": True, "margin": "10px", "align": "foot"}, (500, 400), (10, 70, 490, 390)),
        ({"canvas": "1:1", "trim": True, "margin": "20px"}, (340, 340), (20, 70, 320, 270)),
    ],
)
def test_the_object_is_exactly_where_it_is_asked_for(
    options: dict[str, Any], size: tuple[int, int], box: tuple[int, ...]
):
    frame = lay_out(OutputSpec(**options), SOURCE, OBJECT)
    assert (frame.width, frame.height) == size
    assert frame.project(OBJECT) == Box(*box)


def test_without_an_object_the_whole_frame_counts_as_one():
    assert lay_out(OutputSpec(trim=True), SOURCE, None).target == Box(0, 0, 800, 600)
    assert lay_out(OutputSpec(canvas="800x800", share=0.5), SOURCE, None).target == Box(200, 250, 600, 550)


@given(
    source=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    options=st.sampled_from(
        [
            {"trim": True, "margin": "7%"},
            {"trim": True, "margin": "3px", "max_side": 50},
            {"trim": True, "margin": "30%", "max_side": 50},
            {"canvas": "211x97", "share": 0.85},
            {"canvas": "211x97", "share": 0.85, "align": "foot", "enlarge": False},
            {"canvas": "5:3", "share": 0.99},
            {"canvas": "1:3", "share": 0.85, "max_side": 120},
            {"canvas": "2:3", "trim": True, "margin": "4%"},
            {"canvas": "97x211", "trim": True, "margin": "2px"},
            {"canvas": "97x211"},
        ]
    ),
)
def test_no_object_leaves_its_canvas_or_loses_its_share(
    source: tuple[int, int], corners: tuple[float, ...], options: dict[str, Any]
):
    left, right = sorted(round(part * (source[0] - 1)) for part in corners[:2])
    top, bottom = sorted(round(part * (source[1] - 1)) for part in corners[2:])
    box, spec = Box(left, top, right + 1, bottom + 1), OutputSpec(**options)
    frame = lay_out(spec, source, box)
    target = frame.target
    assert 0 <= target.left < target.right <= frame.width
    assert 0 <= target.top < target.bottom <= frame.height
    assert spec.max_side is None or max(frame.width, frame.height) <= spec.max_side
    assert frame.width * frame.height <= spec.most_pixels(*source)
    visible = frame.visible(source)
    origin = frame.origin(visible, source)
    assert 0 <= origin[0] < origin[2] <= source[0]
    assert 0 <= origin[1] < origin[3] <= source[1]
    if spec.share is not None and spec.enlarge:
        assert max(target.width / frame.width, target.height / frame.height) >= spec.share - 1e-9
