"""How many cores and how much memory this process may use: a container on a 64-core machine has those of its quota."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

WORKER_MEMORY = 2 << 30
"""Bytes for a worker on the CPU, which stays below that with 24-megapixel pictures (tests/torture/test_memory.py)."""


def available_cores(root: Path = Path("/")) -> float:
    """The smaller of CPU affinity and cgroup quota (v2 or v1), for example 1.5. `root` holds proc and sys."""
    return min([float(_affinity()), *_quotas(root)])


def available_memory(root: Path = Path("/")) -> int:
    """Bytes: the smaller of the machine's memory and the cgroup's limit (v2 or v1)."""
    return min([_installed(root), *_limits(root)])


def workers_on_cpu(cores: float, memory: int) -> int:
    """As many as there are whole cores, as far as the memory goes, at least 1.

    A core each is faster than all cores for one picture: nothing waits for the slowest thread of every step.
    """
    return max(1, min(int(cores), memory // WORKER_MEMORY))


def threads_per_worker(workers: int, cores: float) -> int:
    """An equal share of whole cores, at least 1."""
    return max(1, int(cores / max(1, workers)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _installed(root: Path) -> int:
    """All of the machine's; where it does not say, no limit is known."""
    words = dict(line.partition(":")[::2] for line in _text(root / "proc/meminfo").splitlines())
    total = words.get("MemTotal", "").split()
    return int(total[0]) * 1024 if total else sys.maxsize


def _quotas(root: Path) -> Iterator[float]:
    """Every quota on the way up from this process's group: the tightest one counts, and it may be a parent's."""
    return (quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None)


def _limits(root: Path) -> Iterator[int]:
    """The same of memory; v1 gives a number beyond all memory where there is no limit."""
    for group in _groups(root, "memory"):
        text = (_text(group / "memory.max") or _text(group / "memory.limit_in_bytes")).strip()
        if text.isdigit():  # v2 says "max"
            yield int(text)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's group under this controller, and those above it."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:]
        if not controllers or controller in controllers.split(","):
            yield from _upwards(root / "sys/fs/cgroup" / controllers, path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group and those above it. The mount itself is all that is to be seen without a cgroup namespace."""
    group = mount / path.strip("/")
    while group != mount:
        yield group
        group = group.parent
    yield mount


def _quota(group: Path) -> float | None:
    """Cores: microseconds of CPU time in each period. None where the group has no limit, or does not say."""
    words = _text(group / "cpu.max").split()
    words = words or [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # v2 says "max"
        return None
    return quota / period if quota > 0 and period > 0 else None  # v1 says -1


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""
