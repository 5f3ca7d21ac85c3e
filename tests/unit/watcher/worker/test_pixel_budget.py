"""The pixel budget: first come, first served, and nobody is woken in vain."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.equipment.support import wait_until
from watcher.worker.image_path import PixelBudget


def test_pixels_are_granted_in_the_order_of_arrival_as_far_as_they_go() -> None:
    budget, order, go = PixelBudget(10), list[int](), threading.Event()

    def hold(number: int, pixels: int) -> None:
        with budget.hold(pixels):
            order.append(number)
            assert go.wait(60)

    with ThreadPoolExecutor(3) as pool:
        for number, pixels in enumerate((8, 9, 2)):
            pool.submit(hold, number, pixels)
            wait_until(lambda number=number: len(budget._waiting) == number)  # type: ignore[misc]
        assert order == [0], "the third would fit, but the second comes first"
        go.set()
    assert order == [0, 1, 2]


def test_only_the_head_is_woken() -> None:
    budget = PixelBudget(1)
    budget._take(1)
    with ThreadPoolExecutor(3) as pool:
        for number in range(3):
            pool.submit(budget._take, 1)
            wait_until(lambda number=number: len(budget._waiting) == number + 1)  # type: ignore[misc]
        turns = list(budget._waiting)
        for number in range(3):
            budget._release_pixels(1)
            assert [turn.granted.is_set() for turn in turns] == [place <= number for place in range(3)]


def test_a_picture_larger_than_the_budget_gets_all_of_it() -> None:
    budget = PixelBudget(10)
    with budget.hold(1000):
        assert budget._free == 0
    assert budget._free == 10
