"""What a device is beside the model: how pictures get there, what memory it has, what it can record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from inference.device.batch_fitting import Memory
from inference.device.cuda_graphs import CudaRecorder, Recorder
from inference.device.nvml import Gpu, open_gpu
from inference.device.pinned_memory import pinned_arena
from inference.device.transfers import CudaLanes, StreamedTransfers, Transfers

if TYPE_CHECKING:
    from collections.abc import Callable


class Hardware:
    """A CPU: every picture is where it is needed, and no shape of a batch takes longer the first time."""

    warms_up = False
    """Whether every shape is to be run before the first picture comes."""
    memory: Memory | None = None
    recorder: Recorder | None = None
    gpu: Gpu | None = None

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.transfers = Transfers(device)
        self.slowdowns: list[str] = []
        """What could not be had, so that it goes on more slowly; complete when the device is warm."""

    def open(self) -> None:
        """Called once by the device thread, before anything else happens on the device."""

    def slots(self, count: int) -> int:
        """The places of a batch of so many pictures."""
        return count

    def give_back(self) -> None:
        """Give the memory back that is only kept for later."""


class Cuda(Hardware):
    """A CUDA device. Few shapes mean that each can be tried, and recorded, before the first picture comes."""

    warms_up = True

    def __init__(self, device: torch.device, graphs: bool = True) -> None:
        """`graphs`: whether anything may be recorded."""
        super().__init__(device)
        self._graphs = graphs

    def open(self) -> None:
        """Take pinned memory, streams and the driver's word on the card."""
        torch.cuda.set_device(self.device)  # of this thread: streams, graphs and pinned memory go by it
        self.gpu = open_gpu(device_uuid(self.device))
        self.memory = Memory(self._free, self._most_during)
        self.recorder = CudaRecorder(self.device) if self._graphs else None
        arena = pinned_arena()
        if arena is None:
            self.slowdowns.append("main memory could not be pinned, so copies do not overlap with computation")
        else:
            self.transfers = StreamedTransfers(self.device, arena, CudaLanes(self.device))

    def slots(self, count: int) -> int:
        """The next power of two."""
        return 1 << (count - 1).bit_length()

    def give_back(self) -> None:
        """What torch keeps."""
        torch.cuda.empty_cache()

    def _free(self) -> int:
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self.device)[0]

    def _most_during(self, work: Callable[[], object]) -> int:
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        return torch.cuda.max_memory_allocated(self.device) - before


def hardware_of(device: torch.device, graphs: bool = True) -> Hardware:
    """What such a device is; `graphs` is whether it may record what it does."""
    return Cuda(device, graphs) if device.type == "cuda" else Hardware(device)


def device_uuid(device: torch.device) -> str:
    """As the driver knows it, without the word before it; empty for a CPU."""
    if device.type != "cuda":
        return ""
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))  # not every build of torch knows it


def device_memory(device: torch.device, gpu: Gpu | None = None) -> dict[str, int]:
    """Bytes by kind. The card's, whoever uses them: `total` and `used`. The driver's word on this process: `process`.

    Torch's: `reserved` is what its allocator keeps, which is no leak, `allocated` what is in use of that, `peak` the
    most that was.
    """
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    ours = {
        "total": total,
        "used": total - free,
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "peak": torch.cuda.max_memory_allocated(device),
    }
    return ours | (gpu.memory() if gpu else {})
