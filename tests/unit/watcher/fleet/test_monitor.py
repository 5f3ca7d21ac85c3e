"""What the supervisor does with the reports of its workers: an outage is one log line at each of its ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.equipment.support import Clock
from watcher.core.jobs import Outcome
from watcher.fleet import monitor
from watcher.fleet.monitor import OUTAGE_TIMEOUT, QUIET_SECONDS, StageOutages, Telemetry, WorkerMonitor
from watcher.protocol import ImageReport, UnavailableReport
from watcher.stores.local import LocalStore
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.telemetry.run_summary import RunSummary

WRITTEN = ImageReport(key="a.jpg", job="j", outcome=Outcome.WRITTEN, coverage=0.5)
NO_QUEUE = UnavailableReport(
    key="", stage="queue_wait", reason="unavailable", detail="amqp://host: a.jpg", public="connection refused"
)
FULL = UnavailableReport(key="a.jpg", stage="put", reason="unavailable", detail="/sink/a.png: no space", public="full")


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def workers(tmp_path: Path, health: Health) -> WorkerMonitor:
    telemetry = Telemetry(Metrics(), health, RunSummary(), lambda worker, report: "")
    sink = LocalStore(tmp_path)
    return WorkerMonitor([], _never, 30.0, sink, None, telemetry, lambda key: None, lambda: None)


def _never(owner: str, place: int) -> Any:
    raise AssertionError("there are no workers to start")


def test_a_queue_that_is_unavailable_keeps_the_daemon_from_being_ready_until_an_image_is_finished(
    workers: WorkerMonitor, health: Health
) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            workers._handle_report("cpu:0", NO_QUEUE)
        assert health.unready() == {"images": "asking the queue for images: connection refused"}
        workers._handle_report("cpu:0", WRITTEN)
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["outage_began", "image"]
    assert health.unready() == {}


def test_an_image_that_is_requeued_is_a_debug_line(workers: WorkerMonitor, health: Health) -> None:
    with capture_logs() as lines:
        workers._handle_report("cpu", FULL)
    line, began = lines
    assert (line["event"], line["log_level"], began["event"]) == ("image_requeued", "debug", "outage_began")
    assert (line["key"], line["stage"], line["reason"], line["problem"]) == (
        "a.jpg",
        "put",
        "unavailable",
        "/sink/a.png: no space",
    )
    assert health.unready() == {"images": "writing an output to the sink: full"}


def test_an_outage_is_over_when_nothing_has_reported_it_for_a_while(
    workers: WorkerMonitor, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "OUTAGE_TIMEOUT", -1.0)
    workers._handle_report("cpu", FULL)
    workers.tick()
    assert health.unready() == {}


# Outages of stages.

ALREADY_DONE = ImageReport(key="c.jpg", job="j", outcome=Outcome.ALREADY_DONE, stages={"queue_wait": 0.0})


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def outages(clock: Clock) -> StageOutages:
    return StageOutages(clock)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def logged(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["stage"]) for line in lines if line["log_level"] != "debug"]


def test_many_failures_of_a_stage_are_one_outage(outages: StageOutages, clock: Clock, lines: list[Any]) -> None:
    for _ in range(10):
        outages.record_failure("cpu", FULL, "")
        clock.now += 1
    outages.record_success(WRITTEN)
    assert not outages.end_outages()
    clock.now += QUIET_SECONDS
    assert outages.end_outages()
    assert logged(lines) == [("outage_began", "put"), ("outage_ended", "put")]
    first, last = lines[1], lines[-1]
    assert (first["reason"], first["problem"], first["key"]) == ("unavailable", "/sink/a.png: no space", "a.jpg")
    assert (last["failures"], last["seconds"]) == (10, 10 + QUIET_SECONDS)
    assert [line["event"] for line in lines].count("image_requeued") == 10


def test_each_stage_has_outages_of_its_own(outages: StageOutages, clock: Clock, lines: list[Any]) -> None:
    outages.record_failure("cpu", FULL, "")
    outages.record_failure("cpu", NO_QUEUE, "")
    outages.record_success(ALREADY_DONE)  # it was leased, and nothing was put
    clock.now += QUIET_SECONDS + 1
    assert not outages.end_outages()
    assert logged(lines) == [("outage_began", "put"), ("outage_began", "queue_wait"), ("outage_ended", "queue_wait")]


def test_a_failure_now_and_then_is_one_outage(outages: StageOutages, clock: Clock, lines: list[Any]) -> None:
    for _ in range(5):
        outages.record_failure("cpu", FULL, "")
        outages.record_success(WRITTEN)
        clock.now += QUIET_SECONDS - 1
        outages.end_outages()
    assert logged(lines) == [("outage_began", "put")]


def test_an_outage_without_further_images_ends_in_time(outages: StageOutages, clock: Clock, lines: list[Any]) -> None:
    outages.record_failure("cpu", FULL, "")
    clock.now += OUTAGE_TIMEOUT
    assert not outages.end_outages()
    clock.now += 1
    assert outages.end_outages()
    assert logged(lines) == [("outage_began", "put"), ("outage_ended", "put")]


def test_the_first_failure_names_the_trace_of_its_image(outages: StageOutages, lines: list[Any]) -> None:
    outages.record_failure("cpu", FULL, "abc")
    assert [line.get("trace_id") for line in lines if line["event"] == "outage_began"] == ["abc"]
