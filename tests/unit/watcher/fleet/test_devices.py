"""Which workers a list of devices means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from watcher.core.errors import ConfigurationError
from watcher.fleet import devices
from watcher.fleet.devices import (
    WorkerPlan,
    count_gpus,
    expand_devices,
    plan_workers,
    require_devices,
    workers_per_gpu,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", ["cpu"]),
        ("cpu:3", ["cpu", "cpu", "cpu"]),
        ("cuda:0", ["cuda:0"]),
        ("cuda:1,cuda:0", ["cuda:1", "cuda:0"]),
        ("cuda:0, cuda:0", ["cuda:0", "cuda:0"]),
        ("cuda:0, cpu:2", ["cuda:0", "cpu", "cpu"]),
        ("cuda:0x3,cuda:1", ["cuda:0", "cuda:0", "cuda:0", "cuda:1"]),
    ],
)
def test_a_list_is_one_worker_for_each_place_in_it(text: str, expected: list[str]) -> None:
    def nobody_asks() -> int:
        raise AssertionError("the list says it all")

    assert expand_devices(text, nobody_asks) == expected


@pytest.mark.parametrize(("gpus", "expected"), [(0, ["cpu"]), (1, ["cuda:0"]), (3, ["cuda:0", "cuda:1", "cuda:2"])])
def test_auto_is_every_gpu_or_else_the_cpu(gpus: int, expected: list[str]) -> None:
    assert expand_devices("auto", lambda: gpus) == expected


def test_auto_without_a_gpu_is_as_many_workers_as_the_cpu_has_room_for() -> None:
    assert expand_devices("auto", lambda: 0, on_cpu=3) == ["cpu", "cpu", "cpu"]
    assert expand_devices("auto", lambda: 1, on_cpu=3) == ["cuda:0"]
    assert expand_devices("cpu", on_cpu=3) == ["cpu"]


@pytest.mark.parametrize(
    ("gpus", "cores", "main", "card", "expected"),
    [
        (1, 16, 128, 139, 3),
        (1, 12, 128, 80, 3),
        (1, 8, 128, 80, 2),
        (1, 4, 128, 80, 1),
        (4, 16, 128, 80, 1),
        (1, 16, 8, 80, 2),
        (1, 16, 128, 16, 2),
        (1, 16, 128, 0, 1),
    ],
)
def test_a_gpu_gets_as_many_workers_as_cores_and_memory_feed(
    gpus: int, cores: float, main: int, card: int, expected: int
) -> None:
    assert workers_per_gpu(gpus, cores, main << 30, card << 30) == expected


def test_auto_divides_cores_and_codecs_among_the_workers_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, 16, 128)
    plan = plan_workers("auto", 0, third_party=False, count=lambda: 1, gpu_memory=lambda: 139 << 30)
    assert plan == WorkerPlan(["cuda:0"] * 3, threads=5, codecs=4)
    assert (plan.sharing("cuda:0"), str(plan)) == (3, "3 workers on cuda:0, with 5 threads each")
    assert plan_workers("auto", 0, third_party=True, count=lambda: 1, gpu_memory=lambda: 139 << 30).devices == [
        "cuda:0"
    ]


def of(monkeypatch: pytest.MonkeyPatch, cores: float, gibibytes: int) -> None:
    """Pretend that this machine has these cores and this memory."""
    monkeypatch.setattr(devices, "available_cores", lambda: cores)
    monkeypatch.setattr(devices, "available_memory", lambda: gibibytes << 30)


@pytest.mark.parametrize(
    ("text", "gpus", "third_party", "said"),
    [
        ("auto", 0, False, "4 workers on cpu, with 2 threads each"),
        ("auto", 0, True, "1 worker on cpu, with 8 threads each"),
        ("auto", 2, False, "1 worker on cuda:0, 1 worker on cuda:1, with 4 threads each"),
        ("cpu:8", 2, False, "8 workers on cpu, with 1 thread each"),
        ("cuda:0,cuda:0,cpu", 1, False, "2 workers on cuda:0, 1 worker on cpu, with 2 threads each"),
    ],
)
def test_a_plan_says_what_is_started_on_a_machine_of_eight_cores_and_eight_gibibytes(
    monkeypatch: pytest.MonkeyPatch, text: str, gpus: int, third_party: bool, said: str
) -> None:
    of(monkeypatch, 8, 8)
    assert str(plan_workers(text, 0, third_party=third_party, count=lambda: gpus)) == said


def test_a_plan_keeps_to_the_threads_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, 8, 8)
    assert plan_workers("cpu:2", 3, third_party=False) == WorkerPlan(["cpu", "cpu"], 3)


@pytest.mark.parametrize(
    ("text", "threads", "available", "cores"),
    [
        ("auto", 0, 4, [(2,), (3,), (6,), (7,)]),
        ("cpu:4", 0, 4, [(2,), (3,), (6,), (7,)]),
        ("cpu:2", 0, 4, [(2, 3), (6, 7)]),
        ("cpu", 0, 4, [(2, 3, 6, 7)]),
        pytest.param("cpu:3", 0, 4, [()] * 3, id="a core is left"),
        pytest.param("cpu:4", 2, 4, [()] * 4, id="more threads than cores"),
        pytest.param("cpu:2", 0, 2, [()] * 2, id="a quota below the cores"),
        pytest.param("cpu:4", 0, 4.5, [()] * 4, id="a quota above the workers"),
        pytest.param("cuda:0,cpu,cpu,cpu", 0, 4, [()] * 4, id="a GPU's worker needs any core"),
    ],
)
def test_workers_on_the_cpu_keep_to_cores_of_their_own_where_they_take_all(
    monkeypatch: pytest.MonkeyPatch, text: str, threads: int, available: float, cores: list[tuple[int, ...]]
) -> None:
    of(monkeypatch, available, 64)
    monkeypatch.setattr(devices, "usable_cores", lambda: (2, 3, 6, 7))
    plan = plan_workers(text, threads, third_party=False, count=lambda: 0)
    assert [plan.cores_of(place) for place in range(len(plan.devices))] == cores


def test_workers_run_on_any_core_where_the_system_numbers_none(monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, 4, 64)
    monkeypatch.setattr(devices, "usable_cores", tuple)
    assert plan_workers("cpu:4", 0, third_party=False).cores_of(3) == ()


# Counting.


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine without devices."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / path.lstrip("/"))
    return tmp_path


def torch_answers(monkeypatch: pytest.MonkeyPatch, code: int, out: str) -> list[list[str]]:
    """Replace the process that asks torch; returns the commands that were run."""
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


def test_a_gpu_that_torch_does_not_see_is_refused_before_the_start() -> None:
    with pytest.raises(
        ConfigurationError, match=r"--devices cuda:2: not visible here, where torch sees cuda:0, cuda:1"
    ):
        require_devices("cuda:1, cuda:2", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"torch sees no GPU.*nvidia-smi"):
        require_devices("cuda:0", lambda: 0)


def test_what_torch_cannot_say_refuses_nothing_and_only_named_gpus_are_asked_for() -> None:
    require_devices("cuda:7", lambda: None)
    require_devices("cuda:0,cuda:1", lambda: 2)

    def nobody_asks() -> int:
        raise AssertionError("no GPU is named")

    for text in ("auto", "cpu:2"):
        require_devices(text, nobody_asks)
