"""Which devices to run workers on, found out without importing torch here."""

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
class Workers:
    """The workers that are started."""

    devices: list[str]
    """Of each of them."""
    threads: int
    """Of each of them, on the CPU."""

    def __str__(self) -> str:
        """For a person: `2 workers on cpu, with 1 thread each`."""
        some = [_counted(count, "worker") + f" on {device}" for device, count in Counter(self.devices).items()]
        return ", ".join(some) + f", with {_counted(self.threads, 'thread')} each"


def count_gpus() -> int:
    """How many CUDA devices torch sees. Asks a short-lived process, and only where there is a driver at all."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    answer = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else 0


def expand(text: str, count: Callable[[], int] = count_gpus, on_cpu: int = 1) -> list[str]:
    """`auto` to every GPU or `on_cpu` workers on the CPU, `cpu:2` to two of them, `cuda:0,cuda:1` to those two.

    >>> expand("cpu:2")
    ['cpu', 'cpu']
    """
    if text == "auto":
        return [f"cuda:{index}" for index in range(count())] or ["cpu"] * on_cpu
    return [device for word in text.split(",") for device in _workers(word.strip())]


def plan_workers(text: str, threads: int, *, foreign: bool, count: Callable[[], int] = count_gpus) -> Workers:
    """What `--devices` and `--threads` (0: an equal share of the cores) come to on this machine.

    `foreign` is for a model of others: how much memory that wants is not known, and one of them is large enough.
    """
    on_cpu = 1 if foreign else workers_on_cpu(available_cores(), available_memory())
    devices = expand(text, count, on_cpu)
    return Workers(devices, threads or threads_per_worker(len(devices), available_cores()))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _workers(word: str) -> list[str]:
    twins = re.fullmatch(r"cpu:(\d+)", word)
    return ["cpu"] * int(twins[1]) if twins else [word]
