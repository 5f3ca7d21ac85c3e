"""A command is looked on: what it says and when, and its CPU time."""

import os
import sys
from pathlib import Path

import pytest

from watcher.commands.bench.daemon.process_log import CommandFailed, History, observe

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
time.sleep(0.5)  # whoever looks on may be late
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
say("child")
time.sleep(0.5)
say("end")
print("no JSON", file=sys.stderr)
"""


def run(code: str, tmp_path: Path, cores: tuple[int, ...] = ()) -> History:
    return observe([sys.executable, "-c", code], os.environ, cwd=tmp_path, cores=cores)


def test_cpu_time_is_known_at_every_moment_with_that_of_children_that_have_ended(tmp_path: Path):
    history = run(BUSY, tmp_path)
    [ready], [child], [end] = history.times("ready"), history.times("child"), history.times("end")
    assert history.cpu(ready, child) == pytest.approx(0.4, abs=0.12)
    assert history.cpu(ready, child, alone=True) < 0.1
    assert history.cpu(child, end) < 0.1
    assert history.looks[-1][1] == pytest.approx(0.7, abs=0.25)
    assert history.rest == ["no JSON"]
    assert history.peak > 3e6


def test_a_command_is_bound_to_the_cores_that_it_may_use(tmp_path: Path):
    core = max(os.sched_getaffinity(0))
    history = run(f"import os; assert os.sched_getaffinity(0) == {{{core}}}", tmp_path, (core,))
    assert history.code == 0


def test_a_command_that_fails_says_why(tmp_path: Path):
    with pytest.raises(CommandFailed, match=r"(?s)exit code 3 .*out of luck$"):
        run("import sys; print('out of luck', file=sys.stderr); sys.exit(3)", tmp_path)


def test_between_two_looks_the_cpu_time_is_interpolated():
    history = History(looks=[(0.0, 0.0, 0.0), (1.0, 2.0, 1.0), (2.0, 2.0, 1.0)])
    assert history.cpu(0.25, 0.75) == pytest.approx(1.0)
    assert history.cpu(0.5, 5.0, alone=True) == pytest.approx(0.5)


def test_an_image_has_ended_when_its_line_says_so_which_comes_later(tmp_path: Path):
    said = "json.dumps({'event': 'image', 'ended': time.time() - 5})"
    history = run(f"import json, sys, time; print({said}, file=sys.stderr)", tmp_path)
    [(at, _)] = history.lines("image")
    assert 4.5 < history.looks[-1][0] - at < 60
