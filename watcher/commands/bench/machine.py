"""Description of the machine for the report: processor, cores, memory, GPUs and versions. Reads files of Linux."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from watcher.commands.bench.report import Machine

PACKAGES = ("alphadrop", "torch", "numpy", "pillow", "simplejpeg", "isal")


def describe_machine(cores: float, quota: str, gpus: tuple[str, ...], driver: str) -> Machine:
    """Describe this machine.

    `cores` is the number that may be used, and `quota` why; `gpus` and `driver` are texts from the devices' libraries.
    """
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
    """The processor's name in /proc/cpuinfo, or its architecture, because kernels for ARM give no name."""
    fields = dict(line.partition(":")[::2] for line in cpuinfo.splitlines())
    names = {name.strip(): value.strip() for name, value in fields.items()}
    return names.get("model name") or names.get("Model") or platform.machine()


def memory_bytes() -> int:
    """The machine's memory, or the limit of this process's cgroup where that is lower."""
    fields = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines())
    total = int(fields["MemTotal"].split()[0]) * 1024
    limit = _text("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed version by package; packages that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class SystemLoad:
    """Measures how many cores other processes keep busy, from the system's counters."""

    def __init__(self) -> None:
        self._busy, self._total = _ticks()

    def others(self, own: float, seconds: float, ticks: int) -> float | None:
        """Mean number of cores that others kept busy in the `seconds` since this object was made.

        `own` is the CPU seconds that we used meanwhile, `ticks` the clock ticks per second. None where it is not known.
        """
        busy, total = _ticks()
        if total <= self._total or seconds <= 0:
            return None
        return max(0.0, ((busy - self._busy) / ticks - own) / seconds)


def _ticks() -> tuple[int, int]:
    """Clock ticks of all cores since boot: busy ones, and all; zeros where the system does not count them."""
    counts = [int(word) for word in _text("/proc/stat").partition("\n")[0].split()[1:9]]
    if len(counts) < 8:
        return 0, 0
    return sum(counts) - counts[3] - counts[4], sum(counts)  # without idle and iowait


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
