"""How many requests wait at a time, and when the others should come back."""

from __future__ import annotations

import pytest

from watcher.web.api.limits import LONGEST_RETRY, Pace, Slots
from watcher.web.errors import RETRY_AFTER, ApiError


def fail_in_a_place(slots: Slots) -> None:
    with slots.taken(3):
        assert slots.free == 0
        raise ZeroDivisionError


def test_a_place_is_free_again_whatever_happens() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError):
        fail_in_a_place(slots)
    assert slots.free == 1


def test_without_a_place_the_error_says_when_to_come_back() -> None:
    with pytest.raises(ApiError) as raised:
        fail_in_a_place(Slots(0))
    assert (raised.value.status, raised.value.headers) == (429, {"retry-after": "3"})


@pytest.mark.parametrize(
    ("ends", "now", "images", "seconds"),
    [
        ([], 10.0, 5, RETRY_AFTER),  # not known
        ([9.0], 10.0, 5, RETRY_AFTER),
        ([6.0, 8.0], 10.0, 5, 10),  # two images in four seconds
        ([6.0, 8.0], 10.0, 0, 1),
        ([6.0, 8.0], 10.0, 500, LONGEST_RETRY),
        ([9.99, 10.0], 10.0, 1, 1),
    ],
)
def test_the_pace_of_the_last_images_says_when_to_come_back(
    ends: list[float], now: float, images: int, seconds: int
) -> None:
    times = iter([*ends, now])
    pace = Pace(lambda: next(times))
    for _ in ends:
        pace.finished()
    assert pace.seconds_for(images) == seconds
