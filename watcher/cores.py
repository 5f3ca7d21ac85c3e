"""How many cores this process may use: a container on a 64-core machine has the cores of its quota, not 64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(root: Path = Path("/")) -> float:
    """The smaller of CPU affinity and cgroup quota (v2 or v1), for example 1.5. `root` holds proc and sys."""
    return min([float(_affinity()), *_quotas(root)])


def threads_per_worker(workers: int, cores: float) -> int:
    """An equal share of whole cores, at least 1."""
    return max(1, int(cores / max(1, workers)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Every quota on the way up from this process's group: the tightest one counts, and it may be a parent's."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:]
        mount = root / "sys/fs/cgroup" / controllers
        if not controllers or "cpu" in controllers.split(","):
            yield from (quota for group in _groups(mount, path) if (quota := _quota(group)) is not None)


def _groups(mount: Path, path: str) -> Iterator[Path]:
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
