"""What is said of a run: one line for each image."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from watcher.core.protocol import STAGES, ImageReport
from watcher.telemetry.run_summary import NAMED, Tally, log_image

STAGE_SECONDS = {"queue_wait": 2.0, "read": 0.25, "decode": 0.123456, "put": 0.5}
WRITTEN = ImageReport(
    "a.jpg",
    "f" * 64,
    "written",
    "a.png",
    stages=STAGE_SECONDS,
    bytes_in=10,
    bytes_out=20,
    pixels=30,
    coverage=0.5,
    ended=1700000000.1234,
)
REJECTED = ImageReport(
    "a.jpg", "f" * 64, "rejected", "a.png", "truncated", "it ends early", {"queue_wait": 0, "read": 1}, stage="decode"
)


EMPTY = replace(WRITTEN, coverage=0.001)


def line(report: ImageReport, trace_id: str = "") -> MutableMapping[str, Any]:
    with capture_logs() as lines:
        log_image("cuda:0", report, trace_id)
    (only,) = lines
    return only


def test_a_line_says_what_became_of_an_image_where_and_how_long_each_stage_took() -> None:
    assert line(WRITTEN) == {
        "event": "image",
        "log_level": "info",
        "key": "a.jpg",
        "job": "f" * 64,
        "device": "cuda:0",
        "outcome": "written",
        "output": "a.png",
        "seconds": 0.873,
        "stages": {"queue_wait": 2.0, "read": 0.25, "decode": 0.1235, "put": 0.5},
        "bytes_in": 10,
        "bytes_out": 20,
        "pixels": 30,
        "coverage": 0.5,
        "ended": 1700000000.123,
    }


def test_an_image_whose_worker_could_not_tell_any_more_has_ended_now() -> None:
    assert line(REJECTED)["ended"] == pytest.approx(time.time(), abs=60)


def test_stages_stand_in_the_order_in_which_they_are_passed() -> None:
    report = ImageReport("a.jpg", "f" * 64, "written", stages=dict.fromkeys(reversed(STAGES), 1.0))
    assert list(line(report)["stages"]) == list(STAGES)


def test_a_rejected_image_is_a_warning_that_says_where_and_why() -> None:
    found = line(REJECTED)
    assert found["log_level"] == "warning"
    assert (found["stage"], found["reason"], found["detail"]) == ("decode", "truncated", "it ends early")


def test_a_cut_out_that_shows_hardly_anything_is_a_warning_that_says_so() -> None:
    found = line(EMPTY)
    assert (found["log_level"], found["empty"], found["coverage"], found["output"]) == ("warning", True, 0.001, "a.png")


@pytest.mark.parametrize("report", [replace(WRITTEN, coverage=0.0011), REJECTED, replace(EMPTY, outcome="stale")])
def test_what_shows_something_or_was_not_cut_out_is_not_called_empty(report: ImageReport) -> None:
    assert "empty" not in line(report)


def test_an_image_that_is_traced_names_its_trace() -> None:
    assert "trace_id" not in line(WRITTEN)
    assert line(WRITTEN, "abc")["trace_id"] == "abc"


def test_outcomes_and_reasons_are_counted() -> None:
    tally = Tally()
    for report in (WRITTEN, WRITTEN, REJECTED):
        tally.note(report)
    assert tally.outcomes == {"written": 2, "rejected": 1}
    assert tally.reasons == {"truncated": 1}
    assert tally.empty == 0


def test_empty_cut_outs_are_counted_and_the_first_of_them_named() -> None:
    tally = Tally()
    for number in range(NAMED + 2):
        tally.note(replace(EMPTY, key=f"{number}.jpg"))
    assert tally.empty == NAMED + 2
    assert tally.first_empty == [f"{number}.jpg" for number in range(NAMED)]
