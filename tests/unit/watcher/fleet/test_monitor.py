"""What the supervisor does with the reports of its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from watcher.core.jobs import Outcome
from watcher.fleet import monitor
from watcher.fleet.monitor import Telemetry, WorkerMonitor
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


def _never(owner: str, device: str) -> Any:
    raise AssertionError("there are no workers to start")


def test_a_queue_that_is_unavailable_is_logged_once_when_the_outage_begins_and_once_when_it_ends(
    workers: WorkerMonitor, health: Health
) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            workers._handle_report("cpu:0", NO_QUEUE)
        assert health.unready() == {"images": "asking the queue for images: connection refused"}
        workers._handle_report("cpu:0", WRITTEN)
    assert [line["event"] for line in lines] == ["lease_failed", "image", "lease_recovered"]
    assert health.unready() == {}


def test_each_requeued_image_is_a_log_line(workers: WorkerMonitor, health: Health) -> None:
    with capture_logs() as lines:
        workers._handle_report("cpu", FULL)
    [line] = lines
    assert line["event"] == "image_requeued"
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
    monkeypatch.setattr(monitor, "OUTAGE_MEMORY", -1.0)
    workers._handle_report("cpu", FULL)
    workers.tick()
    assert health.unready() == {}
