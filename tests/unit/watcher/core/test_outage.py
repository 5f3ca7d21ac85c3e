"""An outage is one log line when it begins and one when it ends."""

from __future__ import annotations

from typing import Any

import structlog
from structlog.testing import capture_logs

from tests.equipment.support import Clock
from watcher.core.errors import Denied, Throttled, Unavailable
from watcher.core.outage import Outage


def outage(clock: Clock | None = None) -> Outage:
    return Outage(structlog.get_logger(), "sink_failed", "sink_recovered", clock or Clock(100.0))


def events(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["log_level"]) for line in lines]


def test_many_failures_in_a_row_are_one_line_and_their_end_is_another():
    clock = Clock(100.0)
    with capture_logs() as lines:
        failing = outage(clock)
        for attempt in range(50):
            failing.fail(Unavailable(f"attempt {attempt}: no network"))
            clock.now += 1
        assert failing.recover()
    assert events(lines) == [("sink_failed", "warning"), ("sink_recovered", "info")]
    assert (lines[0]["reason"], lines[0]["problem"]) == ("unavailable", "attempt 0: no network")
    assert (lines[1]["seconds"], lines[1]["failures"]) == (50.0, 50)


def test_another_kind_of_error_during_an_outage_is_one_more_line():
    with capture_logs() as lines:
        failing = outage()
        for error in (Throttled("slower"), Denied("no rights"), Throttled("slower"), Denied("no rights")):
            failing.fail(error)
    assert [line["reason"] for line in lines] == ["throttled", "denied"]


def test_a_failure_that_another_process_reported_is_logged_with_its_fields():
    with capture_logs() as lines:
        failing = outage()
        for _ in range(2):
            failing.record("denied", "no rights", stage="put")
        failing.recover(stage="put")
    assert [(line["event"], line["stage"]) for line in lines] == [("sink_failed", "put"), ("sink_recovered", "put")]
    assert (lines[0]["reason"], lines[0]["problem"]) == ("denied", "no rights")


def test_success_without_a_failure_is_no_line():
    with capture_logs() as lines:
        assert not outage().recover()
    assert lines == []


def test_the_next_outage_is_logged_again():
    with capture_logs() as lines:
        failing = outage()
        for _ in range(2):
            failing.fail(Unavailable("no network"))
            failing.recover()
    assert [line["event"] for line in lines] == ["sink_failed", "sink_recovered"] * 2


def test_an_unexpected_error_has_a_traceback_and_an_expected_one_has_none():
    with capture_logs() as lines:
        failing = outage()
        bug = KeyError("a bug")
        failing.fail(bug)
        failing.fail(Unavailable("no network"))
    assert [line["exc_info"] for line in lines] == [bug, None]


def announced(text: str) -> Unavailable:
    error = Unavailable(text)
    error.announced = True
    return error


def test_what_the_log_says_already_is_not_said_again() -> None:
    with capture_logs() as lines:
        outage = Outage(structlog.get_logger(), "failed", "recovered")
        outage.fail(announced("the connection is lost"))
        outage.recover()
        outage.fail(announced("the connection is lost"), always_visible=True)
        outage.recover()
        outage.fail(announced("the connection is lost"))
        outage.fail(Denied("and this user may not"))
        outage.recover()
    levels = [(line["event"], line["log_level"]) for line in lines]
    quiet, visible = [("failed", "debug"), ("recovered", "debug")], [("failed", "warning"), ("recovered", "info")]
    assert levels == [*quiet, *visible, ("failed", "debug"), *visible]
