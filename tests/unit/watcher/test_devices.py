"""Which workers a list of devices means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from watcher import devices
from watcher.devices import count_gpus, expand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", ["cpu"]),
        ("cpu:3", ["cpu", "cpu", "cpu"]),
        ("cuda:0", ["cuda:0"]),
        ("cuda:1,cuda:0", ["cuda:1", "cuda:0"]),
        ("cuda:0, cuda:0", ["cuda:0", "cuda:0"]),
        ("cuda:0, cpu:2", ["cuda:0", "cpu", "cpu"]),
    ],
)
def test_a_list_is_one_worker_for_each_place_in_it(text: str, expected: list[str]) -> None:
    def nobody_asks() -> int:
        raise AssertionError("the list says it all")

    assert expand(text, nobody_asks) == expected


@pytest.mark.parametrize(("gpus", "expected"), [(0, ["cpu"]), (1, ["cuda:0"]), (3, ["cuda:0", "cuda:1", "cuda:2"])])
def test_auto_is_every_gpu_or_else_the_cpu(gpus: int, expected: list[str]) -> None:
    assert expand("auto", lambda: gpus) == expected


# Counting.


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine without devices."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / path.lstrip("/"))
    return tmp_path


def torch_answers(monkeypatch: pytest.MonkeyPatch, code: int, out: str) -> list[list[str]]:
    """Stand in for the process that asks torch; what it was asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, code, out, "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_without_a_driver_torch_is_not_even_asked(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = torch_answers(monkeypatch, 0, "8\n")
    (machine / "dev/nvidiactl").touch()
    assert count_gpus() == 0
    assert asked == []


@pytest.mark.parametrize("node", ["nvidia0", "nvidia12", "dxg"])
def test_with_a_driver_another_process_asks_torch(machine: Path, monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    asked = torch_answers(monkeypatch, 0, "2\n")
    (machine / "dev" / node).touch()
    assert count_gpus() == 2
    assert asked[0][0] == sys.executable


def test_a_torch_that_does_not_answer_sees_no_gpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_answers(monkeypatch, 1, "")
    (machine / "dev/nvidia0").touch()
    assert count_gpus() == 0


def test_the_question_is_valid_python() -> None:
    compile(devices._COUNT, "question", "exec")
