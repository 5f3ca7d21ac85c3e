"""The lines of a pipe are taken several at a time, none is lost, and the end is not waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from watcher.fleet import pipe_lines as module
from watcher.fleet.pipe_lines import PIPE, Lines

GATHER = 3.0
"""Seconds that are gathered here: a machine that is busy is late, but not as late as that."""
LONG = 60.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER", GATHER)


class Pipe:
    """Both ends."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()

    def write(self, text: str) -> None:
        """All of it."""
        os.write(self.writes, text.encode())

    def end(self) -> None:
        """As a writer's death does."""
        os.close(self.writes)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for end in (pipe.reads, pipe.writes):
        with suppress(OSError):
            os.close(end)


def test_the_first_line_comes_at_once(pipe: Pipe) -> None:
    lines, began = Lines(pipe.reads), time.monotonic()
    pipe.write("one\n")
    assert lines.get(LONG) == ["one"]
    assert time.monotonic() - began < GATHER / 2


def test_what_comes_soon_after_is_taken_together(pipe: Pipe) -> None:
    lines = Lines(pipe.reads)
    pipe.write("one\n")
    lines.get(LONG)
    pipe.write("two\n")
    threading.Timer(GATHER / 20, pipe.write, ["three\nfo"]).start()
    assert lines.get(LONG) == ["two", "three"]
    pipe.write("ur\n")
    assert lines.get(LONG) == ["four"]


def test_the_end_is_heard_of_at_once_and_comes_after_the_last_line(pipe: Pipe) -> None:
    lines = Lines(pipe.reads)
    pipe.write("one\n")
    lines.get(LONG)
    began = time.monotonic()
    pipe.write("two\nhalf a li")
    pipe.end()
    assert lines.get(LONG) == ["two"]
    assert lines.get(LONG) == []
    assert time.monotonic() - began < GATHER / 2


def test_a_pipe_that_fills_up_is_not_kept_waiting(pipe: Pipe) -> None:
    count = 4 * PIPE // 1000
    writer = threading.Thread(target=lambda: os.write(pipe.writes, (b"x" * 999 + b"\n") * count))
    lines, began, taken = Lines(pipe.reads), time.monotonic(), 0
    writer.start()
    while taken < count:
        taken += len(lines.get(LONG))
    writer.join()
    assert time.monotonic() - began < 4 * GATHER


def test_silence_has_a_limit_also_in_the_middle_of_a_line(pipe: Pipe) -> None:
    lines = Lines(pipe.reads)
    pipe.write("half a li")
    with pytest.raises(TimeoutError):
        lines.get(0.05)
    pipe.write("ne\n")
    assert lines.get(LONG) == ["half a line"]


def test_a_line_that_is_no_text_is_a_line(pipe: Pipe) -> None:
    os.write(pipe.writes, b"\xff\n")
    assert Lines(pipe.reads).get(LONG) == ["�"]
