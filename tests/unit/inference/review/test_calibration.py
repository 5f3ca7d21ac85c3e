"""From signals to a confidence, with the shipped constants and with fitted ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from inference.evaluation.confidence import cascade, fitting, reliability
from inference.evaluation.confidence.measured import Measured
from inference.review.calibration import CVUNET, DOUBTS, THIRD_PARTY, load_calibration, parse_calibration
from inference.review.doubts import Doubt, Review
from inference.review.signals import SIGNALS


def signals(**others: float) -> list[float]:
    """Those of a sure matte, apart from `others`."""
    sure = {"undecided": -3.0, "unstable": 0.03, "intricate": -5.0, "clutter": 0.005, "coverage": 0.2}
    return [{**sure, **others}.get(name, 0.0) for name in SIGNALS]


@pytest.mark.parametrize("family", [CVUNET, THIRD_PARTY])
def test_the_shipped_constants_tell_a_sure_matte_from_an_undecided_one(family: str) -> None:
    calibration = load_calibration(family)
    sure, unsure = (calibration.review(signals(**others)) for others in ({}, {"undecided": 0.0, "unstable": 0.7}))
    assert sure.confidence > 0.9 and not sure.doubts
    assert unsure.confidence < 0.3 and unsure.doubts[0] in (Doubt.UNDECIDED, Doubt.UNSTABLE_OUTLINE)
    assert tuple(calibration.signals) == SIGNALS and set(DOUBTS) < set(SIGNALS)
    assert list(calibration.quantiles) == sorted(calibration.quantiles)


def test_an_empty_matte_has_one_doubt_and_no_number_means_no_confidence() -> None:
    calibration = load_calibration(CVUNET)
    assert calibration.review(signals(coverage=0.0, undecided=0.0)).doubts == (Doubt.EMPTY,)
    assert calibration.review([float("nan")] * len(SIGNALS)).confidence == 0.0


def test_what_an_output_records_can_be_read_again() -> None:
    review = Review(0.123456, (Doubt.SHADOW_LIKE, Doubt.SEVERAL_OBJECTS))
    text = review.doubts_text + ",of_another_version"
    assert Review.parse(review.confidence_text, text) == Review(0.1235, review.doubts)
    with pytest.raises(ValueError, match="could not convert"):
        Review.parse("sure", "")


def drawn(count: int = 400) -> list[Measured]:
    """Cut-outs whose IoU falls with the first signal, and has nothing to do with the others."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(count, len(SIGNALS)))
    ious = 0.93 - 0.05 * values[:, 0] + rng.normal(0, 0.01, count)
    return [
        Measured("split", str(index), tuple(map(float, row)), float(iou), 1 - float(iou), 1.0, 0.01)
        for index, (row, iou) in enumerate(zip(values, ious, strict=True))
    ]


def test_a_fit_finds_what_predicts_bad_cut_outs(tmp_path: Path) -> None:
    figures = drawn()
    calibration = fitting.fit(figures)
    confidence = reliability.confidences(calibration, figures)
    good = np.array([one.good for one in figures])
    assert reliability.area_under_curve(confidence, good) > 0.95
    assert abs(confidence.mean() - good.mean()) < 0.01
    first, *others = (constants.weight for constants in calibration.signals.values())
    assert first < -3 * max(map(abs, others))
    fitting.write({CVUNET: calibration}, tmp_path / "constants.json")
    assert parse_calibration(json.loads((tmp_path / "constants.json").read_text())[CVUNET]) == calibration
    reliability.plot([("drawn", confidence, good)], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_a_fit_needs_good_and_bad_cut_outs() -> None:
    with pytest.raises(ValueError, match="good and bad"):
        fitting.fit([one for one in drawn() if one.good])


def test_the_least_sure_pictures_are_counted() -> None:
    confidence, good = np.array([0.1, 0.2, 0.3, 0.8, 0.9]), np.array([False, True, False, True, True])
    assert reliability.worst(confidence, good, 0.4) == reliability.Worst(0.4, 0.5, 0.5)
    assert reliability.area_under_curve(confidence, good) == pytest.approx(5 / 6)


def test_a_cascade_of_all_costs_both_models_and_has_the_whole_gain(tmp_path: Path) -> None:
    fast = drawn()
    strong = [Measured(m.split, m.name, m.signals, 0.97, 0.01, 10.0, 0.01) for m in fast]
    confidence = reliability.confidences(fitting.fit(fast), fast)
    pair = cascade.Pair.of(fast, strong, (confidence, np.ones(len(fast))))
    none, *_, everything = points = cascade.curve(pair)
    gain = 0.97 - float(np.mean([one.iou for one in fast]))
    assert [none.more, none.cost, everything.more, everything.cost] == pytest.approx([0.0, 0.1, gain, 1.1])
    fifth = next(point for point in points if point.share == 0.2)
    assert fifth.more > 0.4 * gain and fifth.cost == pytest.approx(0.3)
    assert "Not reached" in cascade.verdict(pair, points[:2]) and ": +" in cascade.verdict(pair, points)
    assert cascade.table(pair, points).count("\n") == len(points) + 2
    cascade.plot(pair, ("nano", "u2net"), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_a_strong_model_that_is_less_sure_changes_nothing() -> None:
    fast = drawn()
    worse = [Measured(m.split, m.name, m.signals, 0.5, 0.5, 10.0, 0.01) for m in fast]
    pair = cascade.Pair.of(fast, worse, (np.full(len(fast), 0.6), np.full(len(fast), 0.5)))
    points = cascade.curve(pair)
    assert "the fast model is better than the strong one" in cascade.verdict(pair, points), "there is nothing to gain"
    assert {round(point.iou, 9) for point in points} == {round(points[0].iou, 9)}
