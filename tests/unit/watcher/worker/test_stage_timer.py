"""How long an image takes in each stage, and how many images are in which."""

from __future__ import annotations

import time

import pytest

from watcher.worker.stage_timer import Occupancy, StageTimer


@pytest.fixture
def occupancy() -> Occupancy:
    return Occupancy()


def test_a_stage_has_a_beginning_and_a_length_and_they_follow_each_other(occupancy: Occupancy) -> None:
    found = time.time() - 5
    with StageTimer(found, occupancy) as timer:
        for stage in ("read", "decode"):
            with timer.timed(stage):
                pass
    assert list(timer.starts) == list(timer.stages) == ["queue_wait", "read", "decode"]
    assert timer.starts["queue_wait"] == pytest.approx(found, abs=0.001)
    assert 5 <= timer.stages["queue_wait"] < 60
    ends = {stage: timer.starts[stage] + timer.stages[stage] for stage in timer.stages}
    assert ends["queue_wait"] <= timer.starts["read"] <= ends["read"] <= timer.starts["decode"] <= ends["decode"]
    assert ends["decode"] <= timer.now() <= time.time() + 0.1


def test_an_image_that_was_found_in_the_future_has_not_waited(occupancy: Occupancy) -> None:
    timer = StageTimer(time.time() + 100, occupancy)
    assert timer.stages["queue_wait"] == 0
    assert timer.starts["queue_wait"] <= time.time() + 0.1


def test_a_stage_that_fails_is_measured_and_stays_the_last_one(occupancy: Occupancy) -> None:
    with pytest.raises(OSError, match="full"), StageTimer(time.time(), occupancy) as timer, timer.timed("put"):
        raise OSError("full")
    assert timer.stage == "put"
    assert "put" in timer.stages


def test_a_stage_can_be_divided_into_waiting_and_work(occupancy: Occupancy) -> None:
    timer = StageTimer(time.time(), occupancy)
    timer.starts["infer"], timer.stages["infer"] = 100.0, 5.0
    timer.split("infer", "batch_wait", 2.0)
    assert (timer.starts["batch_wait"], timer.stages["batch_wait"]) == (100, 3)
    assert (timer.starts["infer"], timer.stages["infer"]) == (103, 2)


def test_work_that_is_longer_than_its_stage_leaves_no_waiting(occupancy: Occupancy) -> None:
    timer = StageTimer(time.time(), occupancy)
    timer.starts["infer"], timer.stages["infer"] = 100.0, 5.0
    timer.split("infer", "batch_wait", 5.1)
    assert timer.stages["batch_wait"] == 0
    assert timer.starts["infer"] == 100


def test_every_image_is_in_one_stage_and_in_none_when_it_is_finished(occupancy: Occupancy) -> None:
    with StageTimer(0, occupancy) as one, StageTimer(0, occupancy) as two:
        assert occupancy.snapshot(0) == {"queue_wait": 2}
        one.enter("decode")
        assert occupancy.snapshot(0) == {"queue_wait": 1, "decode": 1}
        with pytest.raises(ValueError, match="broken"), two.timed("read"):
            raise ValueError("broken")
        assert occupancy.snapshot(0) == {"read": 1, "decode": 1}
    assert occupancy.snapshot(0) == {}


def test_submitted_images_that_are_not_on_the_device_wait_for_their_batch(occupancy: Occupancy) -> None:
    timers = [StageTimer(0, occupancy) for _ in range(5)]
    for timer in timers:
        timer.enter("infer")
    assert occupancy.snapshot(2) == {"infer": 2, "batch_wait": 3}
    assert occupancy.snapshot(0) == {"batch_wait": 5}
    assert occupancy.snapshot(9) == {"infer": 5}
