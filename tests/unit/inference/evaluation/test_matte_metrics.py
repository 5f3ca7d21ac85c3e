"""The figures: known answers."""

import numpy as np
import pytest

from inference.evaluation.metrics import Scores, mean, score


def square(size: int = 100, start: int = 20, end: int = 60) -> np.ndarray:
    alpha = np.zeros((size, size), np.float32)
    alpha[start:end, start:end] = 1
    return alpha


def test_a_perfect_matte_has_no_error() -> None:
    assert score(square(), square()) == Scores(0, 0, 0, 0, 0, 1)


def test_sums_and_means_over_the_whole_picture() -> None:
    scores = score(np.full((100, 100), 0.5, np.float32), np.zeros((100, 100), np.float32))
    assert scores.sad == pytest.approx(5.0)
    assert scores.mad == pytest.approx(0.5)
    assert scores.mse == pytest.approx(0.25)


def test_iou_of_a_shifted_square() -> None:
    assert score(square(start=20, end=60), square(start=40, end=80)).iou == pytest.approx(400 / 2800)


def test_nothing_found_where_nothing_is_counts_as_right() -> None:
    empty = np.zeros((50, 50), np.float32)
    assert score(empty, empty).iou == 1
    assert score(square(), np.zeros((100, 100), np.float32)).iou == 0


def test_a_blurred_edge_costs_gradient() -> None:
    soft = square()
    soft[20:60, 60:64] = 0.5
    assert score(soft, square()).grad > 0.01


def test_an_island_costs_connectivity_more_than_the_same_area_at_the_edge() -> None:
    island, rim = square(), square()
    island[80:90, 80:90] = 0.6
    rim[20:30, 60:70] = 0.6
    truth = square()
    truth[80:90, 80:90] = truth[20:30, 60:70] = 0.3
    assert score(island, truth).conn > 0
    assert score(rim, truth).sad == pytest.approx(score(island, truth).sad)


def test_the_mean_is_taken_figure_by_figure() -> None:
    assert mean([Scores(1, 2, 3, 4, 5, 0), Scores(3, 4, 5, 6, 7, 1)]) == Scores(2, 3, 4, 5, 6, 0.5)
