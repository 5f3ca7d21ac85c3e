"""How many cores and how much memory this process may use: in a container, those of its quota."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

WORKER_MEMORY = 2 << 30
"""Bytes that one worker on the CPU may need; tests/torture/test_memory.py measures it with 24-megapixel pictures."""


def available_cores(root: Path = Path("/")) -> float:
    """The smaller of CPU affinity and cgroup quota (v2 or v1), for example 1.5. `root` contains proc and sys."""
    return min([float(len(usable_cores()) or os.cpu_count() or 1), *_quotas(root)])


def available_memory(root: Path = Path("/")) -> int:
    """Bytes: the smaller of the machine's memory and the cgroup's limit (v2 or v1)."""
    return min([psutil.virtual_memory().total, *_limits(root)])


def workers_on_cpu(cores: float, memory: int) -> int:
    """Number of workers for these cores and bytes of memory: one per whole core as far as memory allows; at least 1.

    A core for each picture is faster than all cores for one: no step waits for its slowest thread.
    """
    return max(1, min(int(cores), memory // WORKER_MEMORY))


def threads_per_worker(workers: int, cores: float) -> int:
    """Each worker's share of the whole cores, at least 1."""
    return max(1, int(cores / max(1, workers)))


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may run on, ascending; empty where the system has no such limit."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()  # macOS has none


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas of this process's group and of its parents; the smallest one counts."""
    return (quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None)


def _limits(root: Path) -> Iterator[int]:
    """The memory limits of the same groups; without a limit, v1 gives a number beyond all memory."""
    for group in _groups(root, "memory"):
        text = (_text(group / "memory.max") or _text(group / "memory.limit_in_bytes")).strip()
        if text.isdigit():  # v2 says "max"
            yield int(text)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's group of this controller, and its parents."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:]
        if not controllers or controller in controllers.split(","):
            yield from _upwards(root / "sys/fs/cgroup" / controllers, path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group and its parents. Without a cgroup namespace, only the mount itself is visible."""
    group = mount / path.strip("/")
    while group != mount:
        yield group
        group = group.parent
    yield mount


def _quota(group: Path) -> float | None:
    """The group's quota in cores: its CPU time in each period, divided by the period. None without a limit."""
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
