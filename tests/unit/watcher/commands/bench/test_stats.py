"""Medians, spreads, ratios, and the format of numbers."""

import pytest

from watcher.commands.bench.stats import Spread, number, ratios, spread


def test_a_spread_is_the_median_with_both_ends():
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(median=2.5, low=1.0, high=10.0, count=4)


def test_a_spread_of_nothing_raises():
    with pytest.raises(ValueError, match="nothing was measured"):
        spread([])


def test_a_disturbance_of_a_whole_repeat_cancels_out_in_ratios():
    # Given a machine that was twice as slow in the second repeat
    ours, theirs = [1.0, 2.0], [4.0, 8.0]
    assert ratios(theirs, ours) == Spread(median=4.0, low=4.0, high=4.0, count=2)


def test_repeats_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.0, "1"), (1.5, "1.50"), (12.345, "12.3"), (123.4, "123"), (98765.0, "98765")],
)
def test_numbers_have_three_significant_digits(value: float, text: str):
    assert number(value) == text


def test_a_single_measurement_shows_no_range():
    assert str(spread([2.5])) == "2.50"
    assert str(spread([2.0, 2.5, 3.0])) == "2.50 (2 to 3)"
