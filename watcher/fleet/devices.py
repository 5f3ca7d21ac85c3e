"""Which workers to run on which devices. Never imports torch."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watcher.core.errors import ConfigurationError
from watcher.core.python import python
from watcher.fleet.cores import (
    available_cores,
    available_memory,
    threads_per_worker,
    usable_cores,
    workers_on_cpu,
)

_COUNT = "import torch; print(torch.cuda.device_count())"
_MEMORY = (
    "import torch as t; print(min(t.cuda.get_device_properties(i).total_memory for i in range(t.cuda.device_count())))"
)
MOST_PER_GPU = 3
"""Workers that share a GPU by default, at most: while one waits for the GPU, the others launch."""
CORES_PER_GPU_WORKER = 4
"""One for the thread that launches, the others for codecs."""
CORES_LEFT = 2
"""Cores that codecs beside a GPU leave to the threads that launch, and to the supervisor."""
MEMORY_PER_GPU_WORKER = 4 << 30
"""Bytes of main memory: CUDA's libraries, pinned memory and pictures in flight."""
GPU_MEMORY_PER_WORKER = 8 << 30
"""Bytes of the GPU's memory."""


@dataclass(frozen=True)
class WorkerPlan:
    """The workers to start."""

    devices: list[str]
    """The device of each worker; one may be named several times."""
    threads: int
    """CPU threads of each worker."""
    codecs: int = 0
    """Images that each worker of a GPU decodes or encodes at a time, see CORES_LEFT; 0 without GPUs."""
    cores: tuple[int, ...] = ()
    """Numbers of the cores to divide among the workers; empty where each worker may run on any core."""

    def cores_of(self, worker: int) -> tuple[int, ...]:
        """Return the numbers of the cores that a worker keeps to, by its place in `devices`; empty for any."""
        return self.cores[worker * self.threads : (worker + 1) * self.threads]

    def sharing(self, device: str) -> int:
        """Return how many workers share this device."""
        return self.devices.count(device)

    def __str__(self) -> str:
        """Such as `2 workers on cpu, with 1 thread each`."""
        groups = [_counted(count, "worker") + f" on {device}" for device, count in Counter(self.devices).items()]
        return ", ".join(groups) + f", with {_counted(self.threads, 'thread')} each"


def count_gpus() -> int:
    """How many CUDA devices torch sees. Asks a short-lived process, and only where a driver is installed."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    return ask_torch() or 0


def ask_torch() -> int | None:
    """How many CUDA devices torch sees, None where it cannot say. Asks a short-lived process."""
    answer = subprocess.run(python("-c", _COUNT), capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else None


def require_devices(text: str, ask: Callable[[], int | None] = ask_torch) -> None:
    """Raise ConfigurationError if `--devices` names a GPU that torch does not see. Passes where torch cannot say."""
    named = sorted(set(re.findall(r"cuda:\d+", text)))
    count = ask() if named else None
    missing = [] if count is None else [device for device in named if int(device.removeprefix("cuda:")) >= count]
    if missing:
        seen = ", ".join(f"cuda:{index}" for index in range(count or 0)) or "no GPU"
        raise ConfigurationError(
            f"--devices {', '.join(missing)}: not visible here, where torch sees {seen}. Name another device or use "
            "--devices auto; check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES."
        )


def gpu_memory() -> int:
    """Bytes of memory of the smallest GPU; 0 where CUDA cannot be initialised, which a worker then reports."""
    answer = subprocess.run(python("-c", _MEMORY), capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else 0


def workers_per_gpu(gpus: int, cores: float, memory: int, gpu_memory: int) -> int:
    """Number of workers for each GPU, at least 1, from cores, main memory and the memory of a GPU in bytes."""
    by_cores, by_memory = int(cores / gpus) // CORES_PER_GPU_WORKER, memory // gpus // MEMORY_PER_GPU_WORKER
    return max(1, min(MOST_PER_GPU, by_cores, by_memory, gpu_memory // GPU_MEMORY_PER_WORKER))


def expand_devices(
    text: str, count: Callable[[], int] = count_gpus, on_cpu: int = 1, per_gpu: Callable[[int], int] = lambda gpus: 1
) -> list[str]:
    """The device of each worker that the value of `--devices` asks for.

    `auto` is every GPU, each with `per_gpu(number of GPUs)` workers, or else `on_cpu` workers on the CPU; `cpu:2` is
    two workers on the CPU, `cuda:0x3` three that share a GPU.

    >>> expand_devices("cpu:2,cuda:0x2")
    ['cpu', 'cpu', 'cuda:0', 'cuda:0']
    """
    if text == "auto":
        gpus = count()
        several = per_gpu(gpus) if gpus else 0
        return [f"cuda:{index}" for index in range(gpus) for _ in range(several)] or ["cpu"] * on_cpu
    return [device for word in text.split(",") for device in _workers(word.strip())]


def plan_workers(
    text: str,
    threads: int,
    *,
    third_party: bool,
    count: Callable[[], int] = count_gpus,
    gpu_memory: Callable[[], int] = gpu_memory,
) -> WorkerPlan:
    """What `--devices` and `--threads` (0: an equal share of the cores) mean on this machine.

    With a `third_party` model, `auto` is one worker on the CPU or on each GPU: its memory is not known, and one may be
    large.
    """
    cores, memory = available_cores(), available_memory()

    def per_gpu(gpus: int) -> int:
        return 1 if third_party else workers_per_gpu(gpus, cores, memory, gpu_memory())

    devices = expand_devices(text, count, 1 if third_party else workers_on_cpu(cores, memory), per_gpu)
    on_gpu = any(device.startswith("cuda") for device in devices)
    codecs = max(1, int(cores - CORES_LEFT) // len(devices)) if on_gpu else 0
    threads = threads or threads_per_worker(len(devices), cores)
    return WorkerPlan(devices, threads, codecs, () if on_gpu else _cores_to_divide(len(devices) * threads, cores))


def _cores_to_divide(wanted: int, available: float) -> tuple[int, ...]:
    """Numbers of all cores if CPU workers take exactly those, else none.

    Where cores are left, the kernel should choose: other workers may keep to the same ones.
    """
    usable = usable_cores()
    return usable if wanted == len(usable) == available else ()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _workers(word: str) -> list[str]:
    several = re.fullmatch(r"(cpu):(\d+)|(cuda(?::\d+)?)x(\d+)", word)
    return [several[1] or several[3]] * int(several[2] or several[4]) if several else [word]
