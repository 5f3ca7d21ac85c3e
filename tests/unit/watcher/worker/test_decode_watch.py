"""Decodings that take too long are found, and nothing else is."""

from __future__ import annotations

import os

import pytest
import structlog

from watcher.config.settings import Settings
from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef, Job, Recipe
from watcher.protocol import ExitCode
from watcher.testing import FakeEngine, MemoryStore
from watcher.worker.crash_markers import CrashMarkers, marker_key
from watcher.worker.decode_watch import LONGEST_STEP, DecodeWatch
from watcher.worker.image_path import ImagePath, PixelBudget
from watcher.worker.output_maker import OutputMaker
from watcher.worker.process import end_stuck_decoding

JOB, OTHER = (Job(name, ImageRef(f"{name}.png", "v", 1), f"{name}.png") for name in ("slow", "quick"))


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_decoding_over_the_limit_is_overdue() -> None:
    watch = DecodeWatch(7, clock := Clock())
    assert watch.overdue() is None
    with watch.watching(JOB, alone=True):
        clock.now = 4
        with watch.watching(OTHER, alone=False):
            assert watch.overdue() is None
            clock.now = 8
            overdue = watch.overdue()
            assert overdue and (overdue.job, overdue.alone, overdue.seconds) == (JOB, True, 8)
    assert watch.overdue() is None, "it came to its end after all"


def test_the_time_in_which_the_process_was_stopped_does_not_count() -> None:
    watch = DecodeWatch(2 * LONGEST_STEP, clock := Clock())
    with watch.watching(JOB, alone=False):
        for clock.now in (1000, 2000):
            assert watch.overdue() is None
        clock.now += 1
        assert watch.overdue()


def path_with(sink: MemoryStore) -> ImagePath:
    """A path whose pictures may take no time at all."""
    settings = Settings(source="in", sink="out", decode_timeout=1e-9)
    outputs = OutputMaker(Recipe("memory://source", "digest", {}), [], 1, "model")
    source, engine, budget = MemoryStore("memory://source"), FakeEngine(), PixelBudget(1)
    return ImagePath(source, sink, engine, budget, CrashMarkers(sink), outputs, settings, lambda report: None)


@pytest.mark.parametrize(
    ("alone", "failing", "marker", "logged"),
    [
        (False, False, None, ["decode_stuck"]),
        (True, False, b"decode_timeout 1e-09", ["decode_stuck"]),
        (True, True, None, ["decode_stuck", "crash_marker_not_written"]),
    ],
    ids=["in company", "alone", "alone, without a sink"],
)
def test_the_worker_ends_and_the_marker_of_a_picture_that_was_alone_says_why(
    alone: bool, failing: bool, marker: bytes | None, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    path = path_with(sink := MemoryStore("memory://sink"))
    if failing:
        sink.failing["put_record"] = Unavailable("disk full")
    end_stuck_decoding(path)
    watching = path.decodings.watching(JOB, alone=alone)
    with structlog.testing.capture_logs() as lines, pytest.raises(SystemExit) as ended, watching:
        end_stuck_decoding(path)
    assert ended.value.code == ExitCode.DECODE_STUCK
    assert [line["event"] for line in lines] == logged
    assert sink.content(marker_key(JOB)) == marker
