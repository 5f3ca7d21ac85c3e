"""The counts of a run, and the log line of each image."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from watcher.core.jobs import Outcome
from watcher.protocol import STAGES, ImageReport
from watcher.telemetry.run_summary import EXAMPLES, RunSummary, log_image

STAGE_SECONDS = {"queue_wait": 2.0, "read": 0.25, "decode": 0.123456, "put": 0.5}
WRITTEN = ImageReport(
    key="a.jpg",
    job="f" * 64,
    outcome=Outcome.WRITTEN,
    output="a.png",
    stages=STAGE_SECONDS,
    bytes_in=10,
    bytes_out=20,
    pixels=30,
    coverage=0.5,
    ended=1700000000.1234,
)
REJECTED = ImageReport(
    key="a.jpg",
    job="f" * 64,
    outcome=Outcome.REJECTED,
    output="a.png",
    reason="truncated",
    detail="it ends early",
    stages={"queue_wait": 0, "read": 1},
    stage="decode",
)


EMPTY = WRITTEN.model_copy(update={"coverage": 0.001})


def line(report: ImageReport, trace_id: str = "") -> MutableMapping[str, Any]:
    with capture_logs() as lines:
        log_image("cuda:0", report, trace_id)
    (only,) = lines
    return only


def test_the_log_line_of_an_image_has_the_outcome_device_and_stage_durations() -> None:
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
        "finished_at": 1700000000.123,
    }


def test_an_image_whose_worker_died_has_ended_now() -> None:
    assert line(REJECTED)["finished_at"] == pytest.approx(time.time(), abs=60)


def test_stages_are_in_the_order_of_processing() -> None:
    report = ImageReport(
        key="a.jpg", job="f" * 64, outcome=Outcome.WRITTEN, stages=dict.fromkeys(reversed(STAGES), 1.0)
    )
    assert list(line(report)["stages"]) == list(STAGES)


def test_a_rejected_image_is_a_warning_with_stage_and_reason() -> None:
    found = line(REJECTED)
    assert found["log_level"] == "warning"
    assert (found["stage"], found["reason"], found["detail"]) == ("decode", "truncated", "it ends early")


def test_an_empty_cut_out_is_a_warning() -> None:
    found = line(EMPTY)
    assert (found["log_level"], found["empty"], found["coverage"], found["output"]) == ("warning", True, 0.001, "a.png")


@pytest.mark.parametrize(
    "report",
    [WRITTEN.model_copy(update={"coverage": 0.0011}), REJECTED, EMPTY.model_copy(update={"outcome": Outcome.STALE})],
)
def test_an_image_that_is_not_empty_or_was_not_written_has_no_empty_field(report: ImageReport) -> None:
    assert "empty" not in line(report)


def test_a_truncated_image_that_was_kept_is_a_warning() -> None:
    found = line(WRITTEN.model_copy(update={"truncated": True}))
    assert (found["log_level"], found["incomplete"], found["output"]) == ("warning", True, WRITTEN.output)
    assert "incomplete" not in line(WRITTEN)


def test_the_line_of_a_traced_image_has_the_trace_id() -> None:
    assert "trace_id" not in line(WRITTEN)
    assert line(WRITTEN, "abc")["trace_id"] == "abc"


def test_outcomes_and_reasons_are_counted() -> None:
    run = RunSummary()
    for report in (WRITTEN, WRITTEN, REJECTED):
        run.record(report)
    assert run.outcomes == {"written": 2, "rejected": 1}
    assert run.reasons == {"truncated": 1}
    assert run.empty == 0


def test_empty_cut_outs_are_counted_and_the_first_keys_kept() -> None:
    run = RunSummary()
    for number in range(EXAMPLES + 2):
        run.record(EMPTY.model_copy(update={"key": f"{number}.jpg"}))
    assert run.empty == EXAMPLES + 2
    assert run.first_empty == [f"{number}.jpg" for number in range(EXAMPLES)]
