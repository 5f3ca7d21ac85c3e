"""A monitored command: its log lines with their times, and its CPU time."""

import os
import sys
from pathlib import Path

import pytest

from watcher.commands.bench.process_monitor import CommandFailed, CommandRecord, monitor_command

BUSY = """
import json, subprocess, sys, time

def say(event):
    print(json.dumps({"event": event}), file=sys.stderr, flush=True)

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

burn(0.3)
say("ready")
time.sleep(0.5)  # the next sample may be late
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
say("child")
time.sleep(0.5)
say("end")
print("no JSON", file=sys.stderr)
"""


def run(code: str, tmp_path: Path, cores: tuple[int, ...] = ()) -> CommandRecord:
    return monitor_command([sys.executable, "-c", code], os.environ, cwd=tmp_path, cores=cores)


def test_cpu_time_at_any_moment_includes_that_of_finished_children(tmp_path: Path):
    record = run(BUSY, tmp_path)
    [ready], [child], [end] = record.times("ready"), record.times("child"), record.times("end")
    assert record.cpu(ready, child) == pytest.approx(0.4, abs=0.12)
    assert record.cpu(ready, child, alone=True) < 0.1
    assert record.cpu(child, end) < 0.1
    assert record.samples[-1][1] == pytest.approx(0.7, abs=0.25)
    assert record.other_output == ["no JSON"]
    assert record.peak_rss > 3e6


def test_a_command_runs_only_on_the_given_cores(tmp_path: Path):
    core = max(os.sched_getaffinity(0))
    record = run(f"import os; assert os.sched_getaffinity(0) == {{{core}}}", tmp_path, (core,))
    assert record.code == 0


def test_a_failed_command_raises_with_the_end_of_its_output(tmp_path: Path):
    with pytest.raises(CommandFailed, match=r"(?s)exit code 3 .*out of luck$"):
        run("import sys; print('out of luck', file=sys.stderr); sys.exit(3)", tmp_path)


def test_cpu_time_between_two_samples_is_interpolated():
    record = CommandRecord(samples=[(0.0, 0.0, 0.0), (1.0, 2.0, 1.0), (2.0, 2.0, 1.0)])
    assert record.cpu(0.25, 0.75) == pytest.approx(1.0)
    assert record.cpu(0.5, 5.0, alone=True) == pytest.approx(0.5)


def test_an_image_is_finished_at_the_time_in_its_line_which_is_written_later(tmp_path: Path):
    line = "json.dumps({'event': 'image', 'finished_at': time.time() - 5})"
    record = run(f"import json, sys, time; print({line}, file=sys.stderr)", tmp_path)
    [(at, _)] = record.lines("image")
    assert 4.5 < record.samples[-1][0] - at < 60
