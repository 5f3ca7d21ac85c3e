"""The lines of a pipe are read several at a time; none is lost, and its end is noticed at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from watcher.fleet import keeper
from watcher.fleet.keeper import PIPE_BYTES, PipeReader

INTERVAL = 3.0
"""The reader's interval in these tests, in seconds: a busy machine is late, but not as late as that."""
LONG = 60.0


@pytest.fixture(autouse=True)
def _interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "READ_INTERVAL", INTERVAL)


class Pipe:
    """Both ends of a pipe."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()

    def write(self, text: str) -> None:
        """Write all of the text."""
        os.write(self.writes, text.encode())

    def end(self) -> None:
        """Close the writing end, as the death of the writer does."""
        os.close(self.writes)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for end in (pipe.reads, pipe.writes):
        with suppress(OSError):
            os.close(end)


def test_the_first_line_comes_at_once(pipe: Pipe) -> None:
    lines, began = PipeReader(pipe.reads), time.monotonic()
    pipe.write("one\n")
    assert lines.read(LONG) == ["one"]
    assert time.monotonic() - began < INTERVAL / 2


def test_lines_that_follow_soon_are_read_together(pipe: Pipe) -> None:
    lines = PipeReader(pipe.reads)
    pipe.write("one\n")
    lines.read(LONG)
    pipe.write("two\n")
    threading.Timer(INTERVAL / 20, pipe.write, ["three\nfo"]).start()
    assert lines.read(LONG) == ["two", "three"]
    pipe.write("ur\n")
    assert lines.read(LONG) == ["four"]


def test_the_end_is_noticed_at_once_and_comes_after_the_last_line(pipe: Pipe) -> None:
    lines = PipeReader(pipe.reads)
    pipe.write("one\n")
    lines.read(LONG)
    began = time.monotonic()
    pipe.write("two\nhalf a li")
    pipe.end()
    assert lines.read(LONG) == ["two"]
    assert lines.read(LONG) == []
    assert time.monotonic() - began < INTERVAL / 2


def test_a_pipe_that_fills_up_is_read_sooner(pipe: Pipe) -> None:
    count = 4 * PIPE_BYTES // 1000
    writer = threading.Thread(target=lambda: os.write(pipe.writes, (b"x" * 999 + b"\n") * count))
    lines, began, taken = PipeReader(pipe.reads), time.monotonic(), 0
    writer.start()
    while taken < count:
        taken += len(lines.read(LONG))
    writer.join()
    assert time.monotonic() - began < 4 * INTERVAL


def test_while_somebody_waits_lines_are_read_at_once(pipe: Pipe) -> None:
    hurried: list[bool] = []
    lines, began = PipeReader(pipe.reads, lambda: bool(hurried)), time.monotonic()
    pipe.write("one\n")
    lines.read(LONG)
    pipe.write("two\n")
    threading.Timer(INTERVAL / 30, hurried.append, [True]).start()
    assert lines.read(LONG) == ["two"]
    pipe.write("three\n")
    assert lines.read(LONG) == ["three"]
    assert time.monotonic() - began < INTERVAL


def test_reading_times_out_even_in_the_middle_of_a_line(pipe: Pipe) -> None:
    lines = PipeReader(pipe.reads)
    pipe.write("half a li")
    with pytest.raises(TimeoutError):
        lines.read(0.05)
    pipe.write("ne\n")
    assert lines.read(LONG) == ["half a line"]


def test_a_line_that_is_not_utf8_is_a_line(pipe: Pipe) -> None:
    os.write(pipe.writes, b"\xff\n")
    assert PipeReader(pipe.reads).read(LONG) == ["�"]
