"""A child process that answers requests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.equipment.support import wait_until
from watcher.web.child import Child, ChildFailed

ECHO = """
import os, sys, time
from watcher.web.child import serve

def handle(header, body):
    print("a library prints something")
    match header["do"]:
        case "die":
            os._exit(3)
        case "hang":
            time.sleep(1000)
    return {"pid": os.getpid(), "did": header["do"]}, body[::-1]

serve(handle, idle=float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    return "echo_child"


@pytest.fixture
def child(module: str) -> Iterator[Child]:
    with closing(Child(module, timeout=60)) as child:
        yield child


def test_one_process_answers_one_request_after_the_other(child: Child) -> None:
    body = bytes(range(256)) * 10_000
    answers = [child.ask({"do": "echo"}, data) for data in (b"", body)]
    assert [data for _, data in answers] == [b"", body[::-1]]
    assert answers[0][0]["pid"] == answers[1][0]["pid"]


def test_a_process_that_dies_of_a_request_is_replaced_for_the_next(child: Child) -> None:
    with pytest.raises(ChildFailed, match="died"):
        child.ask({"do": "die"})
    first = child.ask({"do": "echo"})[0]["pid"]
    os.kill(first, signal.SIGKILL)  # between two requests, as when it was idle
    assert child.ask({"do": "echo"})[0]["pid"] != first


def test_a_process_that_is_late_is_killed(module: str) -> None:
    with closing(Child(module, timeout=60)) as child:
        pid = child.ask({"do": "echo"})[0]["pid"]
        child._timeout = 0.2
        with pytest.raises(ChildFailed, match="within"):
            child.ask({"do": "hang"})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_ends_when_nobody_asks(child: Child) -> None:
    process = child.ask({"do": "echo"})[0]["pid"]
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(ChildFailed, match="stopping"):
        child.ask({"do": "echo"})


def test_an_idle_process_ends_by_itself(module: str, tmp_path: Path) -> None:
    (tmp_path / "hasty_child.py").write_text(ECHO.replace("else 60.0", "else 0.05"))
    with closing(Child("hasty_child", timeout=60)) as child:
        first = child.ask({"do": "echo"})[0]["pid"]
        assert child._process is not None
        wait_until(lambda: child._process is None or child._process.poll() == 0)
        assert child.ask({"do": "echo"})[0]["pid"] != first
