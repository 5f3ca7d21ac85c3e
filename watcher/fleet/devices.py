"""Which workers to run on which devices. Never imports torch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watcher.fleet.cores import available_cores, available_memory, threads_per_worker, workers_on_cpu

_COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class WorkerPlan:
    """The workers to start."""

    devices: list[str]
    """The device of each worker; one may be named several times."""
    threads: int
    """CPU threads of each worker."""

    def __str__(self) -> str:
        """Such as `2 workers on cpu, with 1 thread each`."""
        groups = [_counted(count, "worker") + f" on {device}" for device, count in Counter(self.devices).items()]
        return ", ".join(groups) + f", with {_counted(self.threads, 'thread')} each"


def count_gpus() -> int:
    """How many CUDA devices torch sees. Asks a short-lived process, and only where a driver is installed."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    answer = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else 0


def expand_devices(text: str, count: Callable[[], int] = count_gpus, on_cpu: int = 1) -> list[str]:
    """The device of each worker that the value of `--devices` asks for.

    `auto` is every GPU, or else `on_cpu` workers on the CPU; `cpu:2` is two workers on the CPU.

    >>> expand_devices("cpu:2")
    ['cpu', 'cpu']
    """
    if text == "auto":
        return [f"cuda:{index}" for index in range(count())] or ["cpu"] * on_cpu
    return [device for word in text.split(",") for device in _workers(word.strip())]


def plan_workers(text: str, threads: int, *, third_party: bool, count: Callable[[], int] = count_gpus) -> WorkerPlan:
    """What `--devices` and `--threads` (0: an equal share of the cores) mean on this machine.

    With a `third_party` model, `auto` is one worker on the CPU: its memory is not known, and one may be large.
    """
    on_cpu = 1 if third_party else workers_on_cpu(available_cores(), available_memory())
    devices = expand_devices(text, count, on_cpu)
    return WorkerPlan(devices, threads or threads_per_worker(len(devices), available_cores()))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _workers(word: str) -> list[str]:
    several = re.fullmatch(r"cpu:(\d+)", word)
    return ["cpu"] * int(several[1]) if several else [word]
