"""Cores and memory are limited by the quotas of a container and of its parents, in both versions of cgroups."""

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from watcher.fleet.cores import available_cores, available_memory, threads_per_worker, workers_on_cpu


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.fixture(autouse=True)
def thirty_two_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=32 * GIB))


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A root with /proc/self/cgroup and files below /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 16


def test_where_there_is_no_affinity_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_cores(tmp_path) == 5


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="v2"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, 16, id="v2 without a limit"),
        pytest.param("0::/\n", {"cpu.max": "6400000 100000\n"}, 16, id="v2 with more than there is"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 1\n"}, 2, id="v2 of a parent"),
        pytest.param("0::/host/only\n", {"cpu.max": "50000 100000\n"}, 0.5, id="v2 without a namespace"),
        pytest.param("0::/\n", {"cpu.max": "nonsense"}, 16, id="v2 not understood"),
        pytest.param(
            "9:memory:/x\n4:cpu,cpuacct:/x\n0::/\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            3,
            id="v1",
        ),
        pytest.param(
            "1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16, id="v1 unlimited"
        ),
    ],
)
def test_the_tightest_quota_counts(tmp_path: Path, groups: str, files: dict[str, str], cores: float) -> None:
    assert available_cores(machine(tmp_path, groups, files)) == cores


def test_this_machine_has_cores() -> None:
    assert 0 < available_cores() <= 16


@pytest.mark.parametrize(("workers", "cores", "threads"), [(1, 1.5, 1), (2, 16, 8), (3, 16, 5), (4, 0.5, 1), (0, 4, 4)])
def test_workers_share_whole_cores(workers: int, cores: float, threads: int) -> None:
    assert threads_per_worker(workers, cores) == threads


GIB = 1 << 30
UNLIMITED = str(2**63 - 4096)
"""What cgroups v1 report where there is no limit."""


@pytest.mark.parametrize(
    ("groups", "files", "gibibytes"),
    [
        pytest.param("0::/\n", {}, 32, id="no limit"),
        pytest.param("0::/\n", {"memory.max": "max\n"}, 32, id="v2 without a limit"),
        pytest.param("0::/\n", {"memory.max": f"{4 * GIB}\n"}, 4, id="v2"),
        pytest.param("0::/a/b\n", {"a/memory.max": f"{2 * GIB}\n", "a/b/memory.max": "max\n"}, 2, id="v2 of a parent"),
        pytest.param("0::/\n", {"memory.max": f"{64 * GIB}\n"}, 32, id="v2 with more than there is"),
        pytest.param("9:memory:/x\n", {"memory/x/memory.limit_in_bytes": f"{3 * GIB}\n"}, 3, id="v1"),
        pytest.param("9:memory:/x\n", {"memory/x/memory.limit_in_bytes": UNLIMITED}, 32, id="v1 without a limit"),
    ],
)
def test_the_tightest_limit_of_memory_counts(
    tmp_path: Path, groups: str, files: dict[str, str], gibibytes: int
) -> None:
    assert available_memory(machine(tmp_path, groups, files)) == gibibytes * GIB


def test_without_cgroups_all_memory_counts(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == 32 * GIB


@pytest.mark.parametrize(
    ("cores", "gibibytes", "workers"),
    [
        pytest.param(2, 24, 2, id="a core each"),
        pytest.param(3.9, 24, 3, id="whole cores"),
        pytest.param(0.5, 24, 1, id="at least one"),
        pytest.param(64, 16, 8, id="as far as the memory goes"),
        pytest.param(4, 1, 1, id="at least one, however little memory there is"),
    ],
)
def test_a_cpu_has_a_worker_for_each_core_that_there_is_memory_for(cores: float, gibibytes: int, workers: int) -> None:
    assert workers_on_cpu(cores, gibibytes * GIB) == workers
