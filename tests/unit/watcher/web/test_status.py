"""What the page shows of the daemon's work. What is not known is null."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.equipment.support import Clock
from watcher.core.jobs import Outcome
from watcher.protocol import HeartbeatReport, ImageReport, ReadyReport, WorkerState
from watcher.queues.base import QueueStats
from watcher.web.status import WINDOW, StatusBoard


@dataclass
class Keeper:
    worker: str
    state: WorkerState = WorkerState.READY
    problem: str = ""


def image(outcome: Outcome = Outcome.WRITTEN) -> ImageReport:
    return ImageReport(key="a.jpg", job="j", outcome=outcome)


def beat(device: str, **gpu: float) -> HeartbeatReport:
    memory = {"used": 5, "total": 10} if gpu else {}
    return HeartbeatReport(
        device=device, memory=memory, batch_limit=1, out_of_memory=0, busy_seconds=0.0, in_flight=3, gpu=gpu
    )


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def board(clock: Clock) -> StatusBoard:
    board = StatusBoard(clock)
    board.workers = lambda: [Keeper("cpu")]
    return board


def test_where_no_worker_is_heard_nothing_is_known() -> None:
    shown = StatusBoard().snapshot()
    assert shown == {"throughput": None, "backlog": None, "seconds_to_drain": None, "workers": [], "devices": []}


def test_the_throughput_is_that_of_the_last_half_minute(board: StatusBoard, clock: Clock) -> None:
    for _ in range(100):
        clock.now += 0.5
        board.take_report("cpu", image())
    board.take_report("cpu", image(Outcome.REJECTED))
    board.stats = QueueStats(pending=35, in_flight=5)
    shown = board.snapshot()
    assert shown["throughput"] == pytest.approx(2.0, rel=0.05) and shown["backlog"] == 40
    assert shown["seconds_to_drain"] == pytest.approx(20, abs=1)
    clock.now += WINDOW + 1
    assert board.snapshot()["throughput"] == 0 and board.snapshot()["seconds_to_drain"] is None
    board.stats = QueueStats()
    assert board.snapshot()["seconds_to_drain"] == 0


def test_a_young_daemon_is_not_measured_over_time_that_it_has_not_run(board: StatusBoard, clock: Clock) -> None:
    clock.now += 4
    for _ in range(8):
        board.take_report("cpu", image())
    assert board.throughput() == 2.0


def test_workers_that_share_a_card_are_one_device(board: StatusBoard) -> None:
    board.workers = lambda: [Keeper("cuda:0-0"), Keeper("cuda:0-1", WorkerState.FAILED, "worker died: sigkill")]
    board.take_report("cuda:0-0", ReadyReport(device="cuda:0", device_name="L4", model="nano", warmup_seconds=1.0))
    board.take_report("cuda:0-0", beat("cuda:0", utilization=0.5, power=70.0))
    shown = board.snapshot()
    [device] = shown["devices"]
    assert (device["name"], device["model"], device["memory_used"], device["memory_total"]) == ("cuda:0", "L4", 5, 10)
    assert (device["utilization"], device["watts"], device["celsius"]) == (0.5, 70.0, None)
    first, second = shown["workers"]
    assert (first["state"], first["in_flight"], first["problem"]) == ("ready", 3, None)
    assert (second["state"], second["in_flight"], second["problem"]) == ("failed", None, "worker died: sigkill")


def test_of_a_cpu_no_card_is_known(board: StatusBoard) -> None:
    board.take_report("cpu", beat("cpu"))
    [device] = board.snapshot()["devices"]
    assert device["memory_used"] is device["utilization"] is None
