"""What a worker process does with its engine before the first image."""

from __future__ import annotations

import io
import os
from typing import cast

import pytest
import structlog
import torch

from inference import Engine, EngineOptions
from inference.errors import DeviceLost
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from tests.equipment.fake_gpu import FakeGpu
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.protocol import ExitCode, RehearsalReport, Report, UnavailableReport
from watcher.queues.base import Queue
from watcher.testing import MemoryQueue
from watcher.worker import process
from watcher.worker.loop import WorkerLoop
from watcher.worker.process import (
    Reporter,
    default_capacity,
    keep_to_cores,
    log_slowdowns,
    rehearse,
    send_heartbeats,
    until_available,
)


@pytest.mark.parametrize(
    ("device", "batch", "images"), [("cpu", 0, 7), ("cuda:0", 0, 66), ("cuda:0", 8, 18), ("cuda:0", 64, 130)]
)
def test_enough_images_are_in_flight_to_prepare_the_next_batch_and_no_more(
    device: str, batch: int, images: int
) -> None:
    model = FakeModel()
    card = None if device == "cpu" else FakeGpu(model)
    engine = Engine(EngineOptions(device=device, batch=batch), model=model, hardware=card)
    assert default_capacity(engine) == images


def test_each_reason_for_a_slower_device_is_logged() -> None:
    card = FakeGpu(model := FakeModel())
    card.slowdowns += ["no memory could be pinned", "no graphs"]
    with structlog.testing.capture_logs() as lines:
        log_slowdowns(Engine(EngineOptions(device="cuda:0"), model=model, hardware=card))
    assert [(line["event"], line["device"], line["log_level"]) for line in lines] == [
        ("device_not_optimal", "cuda:0", "warning")
    ] * 2
    assert [line["problem"] for line in lines] == card.slowdowns


def rehearsals(model: FakeModel) -> tuple[list[bool], bool | None]:
    """What the reports of a rehearsal say, and what it returns; None if the device is lost."""
    reports: list[Report] = []
    with Engine(EngineOptions(), model=model) as engine:
        try:
            works: bool | None = rehearse(engine, reports.append)
        except DeviceLost:
            works = None
    return [report.passed for report in reports if isinstance(report, RehearsalReport)], works


def test_a_rehearsal_tells_a_device_that_works_from_one_that_fails() -> None:
    assert rehearsals(FakeModel()) == ([False, True], True)
    assert rehearsals(FakeModel(FakeOptions(fail_at=2))) == ([False], None)
    with structlog.testing.capture_logs() as lines:
        assert rehearsals(FakeModel(FakeOptions(oom_pixels=1e5))) == ([False], False)
    assert [line["event"] for line in lines] == ["rehearsal_skipped"]


def test_a_worker_waits_for_a_queue_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "QUEUE_BACKOFF", (0.001, 0.001))
    queue, failures, reports = MemoryQueue(), [Unavailable("the disk is full")] * 2, list[Report]()

    def open_queue() -> Queue:
        if failures:
            raise failures.pop()
        return queue

    assert until_available(open_queue, reports.append) is queue
    assert [(r.kind, r.stage, r.detail) for r in reports if isinstance(r, UnavailableReport)] == [
        ("unavailable", "queue_wait", "the disk is full")
    ] * 2


def test_a_device_that_answers_no_more_ends_the_worker_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed kernel even questions about memory raise; a heartbeat that fails with them would be `silent`."""
    engine = Engine(EngineOptions(), model=FakeModel())

    def raise_lost() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)

    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(engine, "stats", raise_lost)
    monkeypatch.setattr(os, "_exit", end)
    loop, report = cast(WorkerLoop, None), Reporter(io.StringIO())
    with structlog.testing.capture_logs() as lines, pytest.raises(SystemExit) as ended:
        send_heartbeats(Settings(source="in", sink="out"), engine, loop, Counts(), report)
    assert ended.value.code == ExitCode.DEVICE_LOST
    assert [(line["event"], "illegal memory" in line["problem"]) for line in lines] == [("device_unreadable", True)]


def test_cores_that_have_been_taken_away_end_no_worker() -> None:
    before = os.sched_getaffinity(0)
    keep_to_cores([max(before) + 1000])
    assert os.sched_getaffinity(0) == before
