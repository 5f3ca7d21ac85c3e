"""What is measured on: processor, cores, memory, cards, versions. Linux says all of it in files."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from watcher.commands.bench.report import Machine

PACKAGES = ("alphadrop", "torch", "numpy", "pillow", "simplejpeg", "isal")


def machine(cores: float, quota: str, gpus: tuple[str, ...], driver: str) -> Machine:
    """`cores` are those allowed, `quota` says why; `gpus` and `driver` are as the devices' own libraries name them."""
    return Machine(
        cpu=cpu_name(_text("/proc/cpuinfo")),
        cores=cores,
        quota=quota,
        memory_gib=memory_bytes() / 2**30,
        gpus=gpus,
        driver=driver,
        system=f"{_distribution()}, Linux {platform.release()}, {platform.machine()}",
        versions={"Python": platform.python_version(), **versions(PACKAGES)},
    )


def cpu_name(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; ARM's kernels name none."""
    fields = dict(line.partition(":")[::2] for line in cpuinfo.splitlines())
    names = {name.strip(): value.strip() for name, value in fields.items()}
    return names.get("model name") or names.get("Model") or platform.machine()


def memory_bytes() -> int:
    """The machine's memory, or what the group that this process is in may use of it."""
    words = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines())
    total = int(words["MemTotal"].split()[0]) * 1024
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """By package, of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Load:
    """How many cores others keep busy, from the system's own counts."""

    def __init__(self) -> None:
        self._busy, self._total = _ticks()

    def others(self, own: float, seconds: float, ticks: int) -> float | None:
        """Cores, over the `seconds` since this was made, in which we have used `own` seconds of CPU time."""
        busy, total = _ticks()
        if total <= self._total or seconds <= 0:
            return None
        return max(0.0, ((busy - self._busy) / ticks - own) / seconds)


def _ticks() -> tuple[int, int]:
    """Clock ticks of all cores since boot: busy ones, and all."""
    words = [int(word) for word in _text("/proc/stat").partition("\n")[0].split()[1:9]]
    if len(words) < 8:
        return 0, 0
    return sum(words) - words[3] - words[4], sum(words)  # but for idle and waiting for disks


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return sys.platform


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""
