"""GPU readings from the real pynvml, which loads a stand-in for the driver's library.

Each test runs in its own process, since a process loads that library only once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.device.hardware import device_memory, device_uuid
from inference.device.nvml import Gpu, open_gpu
from tests.equipment.requirements import require_program
from tests.equipment.support import ROOT, STUCK, clean_environment

UUID = "5c1d9b9e-0000-4000-8000-000000000001"
READINGS = {"utilization": 0.42, "power": 250.5, "temperature": 61.0}
MEMORY = {"total": 80 << 30, "used": 10 << 30, "process": 1 << 30}
ASK = """
import json, os, sys
from inference.device.nvml import open_gpu
gpu = open_gpu(sys.argv[1])
answers = [None] if gpu is None else [gpu.readings(), gpu.memory()]
if gpu:
    os.environ["FAKE_NVML_LOST"] = "1"
    answers += [gpu.readings(), gpu.memory()]
print(json.dumps(answers))
"""
ON_CPU = """
import json, pynvml
from inference import Engine, EngineOptions
from inference.models.fake import FakeModel
with Engine(EngineOptions(), model=FakeModel()) as engine:
    gpu = engine.stats().gpu
print(json.dumps([gpu, pynvml.nvmlLib is None]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in for the driver's library."""
    require_program("gcc", "install a C compiler.")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libnvidia-ml.so.1"
    source = ROOT / "tests" / "equipment" / "fake_nvml.c"
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    return folder


def ask(code: str, *arguments: str, libraries: Path | str, **variables: str) -> list[Any]:
    """Run code in a process that looks for the driver's library there; returns the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=clean_environment(LD_LIBRARY_PATH=str(libraries), **variables),
        capture_output=True,
        text=True,
        timeout=STUCK,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("kind", ["GPU", "MIG"])
def test_a_gpu_is_found_by_its_uuid_and_has_readings_until_it_is_lost(driver: Path, kind: str) -> None:
    answers = ask(ASK, UUID, libraries=driver, FAKE_NVML_UUID=f"{kind}-{UUID}")
    assert answers == [READINGS, MEMORY, {}, {}]


def test_unsupported_readings_are_left_out(driver: Path) -> None:
    variables = {"FAKE_NVML_UUID": f"GPU-{UUID}", "FAKE_NVML_WITHOUT": "utilization,processes"}
    readings, memory, *_ = ask(ASK, UUID, libraries=driver, **variables)
    assert readings == {"power": 250.5, "temperature": 61.0}
    assert memory == {"total": 80 << 30, "used": 10 << 30}


def test_a_gpu_with_another_uuid_does_not_match(driver: Path) -> None:
    assert ask(ASK, UUID, libraries=driver, FAKE_NVML_UUID="GPU-other") == [None]


def test_a_broken_driver_counts_as_none(driver: Path) -> None:
    assert ask(ASK, UUID, libraries=driver, FAKE_NVML_UUID=f"GPU-{UUID}", FAKE_NVML_INIT="9") == [None]


def test_without_a_driver_there_is_no_gpu(tmp_path: Path) -> None:
    assert ask(ASK, UUID, libraries=tmp_path) == [None] or torch.cuda.is_available()


def test_an_invalid_library_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no library")
    assert ask(ASK, UUID, libraries=tmp_path) == [None]


def test_on_a_cpu_no_driver_is_loaded(driver: Path) -> None:
    assert ask(ON_CPU, libraries=driver, FAKE_NVML_UUID=f"GPU-{UUID}") == [{}, True]


def test_the_drivers_values_take_precedence_over_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeGpu(Gpu):
        def memory(self) -> dict[str, int]:
            return {"total": 100, "used": 60, "process": 30}

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50, 99))
    for name, amount in (("memory_allocated", 10), ("memory_reserved", 20), ("max_memory_allocated", 15)):
        monkeypatch.setattr(torch.cuda, name, lambda device, amount=amount: amount)
    ours = {"allocated": 10, "reserved": 20, "peak": 15}
    device = torch.device("cuda")
    assert device_memory(device, FakeGpu(None, None)) == {"total": 100, "used": 60, "process": 30, **ours}
    assert device_memory(device) == {"total": 99, "used": 49, **ours}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_real_gpu_is_found_and_is_the_same_as_torchs() -> None:
    device = torch.device("cuda")
    gpu = open_gpu(device_uuid(device))
    assert gpu is not None
    assert gpu.memory()["total"] == pytest.approx(torch.cuda.mem_get_info(device)[1], rel=0.1)
    assert 0 <= gpu.readings()["utilization"] <= 1
