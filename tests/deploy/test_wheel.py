"""The wheel has all that alphadrop needs at run time, and not the drawing code."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.equipment.support import ROOT

LEFT_OUT = (
    "inference/synthetic/",
    "inference/corpus/",
    "inference/training/",
    "inference/evaluation/held_out.py",
    "inference/evaluation/confidence/",
    "inference/evaluation/real.py",
    "inference/evaluation/side_by_side.py",
)
"""What draws pictures or learns from them, and what cannot run without it."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    [path] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(path)


def contents(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_leaves_out_drawing_and_training(wheel: Path) -> None:
    names = contents(wheel)
    assert [name for name in names if name.startswith(LEFT_OUT)] == []
    assert "inference/evaluation/held_out.py" not in names


def test_the_wheel_has_every_other_file_of_the_packages(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "watcher", "inference"], cwd=ROOT, capture_output=True, check=True)
    expected = {name for name in listed.stdout.decode().split("\n") if name and not name.startswith(LEFT_OUT)}
    assert {name for name in expected if (ROOT / name).exists()} - contents(wheel) == set()


def test_the_wheel_has_the_kernels_and_names_the_machine(wheel: Path) -> None:
    machine = platform.machine()
    assert f"inference/kernels/kernels-{machine}.so" in contents(wheel)
    assert wheel.stem.endswith(f"-py3-none-manylinux_2_17_{machine}")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the wheel, without the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = [str(installed), *(path for path in sys.path if path and Path(path) != ROOT)]
    code = f"import sys; sys.path[:] = {paths!r}; from watcher.cli import main; sys.exit(main({list(words)!r}))"
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=installed, check=False
    )


@pytest.mark.parametrize("words", [["bench", "--quick"], ["bench", "peers"]])
def test_bench_says_that_it_needs_a_checkout(installed: Path, words: list[str]) -> None:
    refused = run(installed, *words)
    assert refused.returncode == 2
    assert "Run it from a checkout of the repository" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_other_commands_work_without_the_drawing_code(installed: Path) -> None:
    assert run(installed, "models").returncode == 0
    assert run(installed, "bench", "--help").returncode == 0
