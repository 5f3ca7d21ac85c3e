"""A device apart from the model: how pictures get there, how much memory it has, whether it captures CUDA graphs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch

from inference.device.cuda_graphs import CaptureGraph, CudaCapture
from inference.device.nvml import Gpu, open_gpu
from inference.device.pinned_memory import PIXELS, allocate_arena
from inference.device.transfers import CudaCopyStreams, StreamedTransfers, Transfers
from inference.kernels import kernels_problem


@dataclass(frozen=True)
class MemoryProbe:
    """Measures a device's memory, in bytes."""

    free: Callable[[], int]
    """Free memory of the device in bytes: not used by this or any other process."""
    peak_during: Callable[[Callable[[], object]], int]
    """The most that some work allocates beyond what is allocated already. Raises what the work raises."""
    others: Callable[[], int] = lambda: 0
    """Memory of the device that other processes use, in bytes."""
    share: Callable[[], int] = lambda: sys.maxsize
    """Memory that this process may use if there are no others but those that it was planned with, in bytes."""


class Hardware:
    """A CPU, and the base of other devices: pictures need no copies, and a batch's first run takes no longer."""

    needs_warmup = False
    """Whether every shape of a batch is run before the first picture."""
    whole_batches = False
    """Whether pictures of one size are refined and cut out together, with few operations, or one after the other."""
    memory: MemoryProbe | None = None
    capture: CaptureGraph | None = None
    gpu: Gpu | None = None

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.transfers = Transfers(device)
        self.slowdowns: list[str] = []
        """Why the device is slower than it could be, a clause each; complete when it has warmed up."""

    def open(self) -> None:
        """Prepare the device. Called once by the device thread, before anything else happens on the device."""
        if problem := kernels_problem(self.device):
            self.slowdowns.append(problem)

    def slots_for(self, count: int) -> int:
        """Return the size of the batch in which `count` pictures run; the rest is padding."""
        return count

    def release_memory(self) -> None:
        """Release memory that is only cached for later."""


class CudaHardware(Hardware):
    """A CUDA device. Batch sizes are rounded up to few shapes, so that each is run, and captured, in the warm-up."""

    needs_warmup = True
    whole_batches = True

    def __init__(self, device: torch.device, graphs: bool = True, sharing: int = 1, pixels: int = 0) -> None:
        """`graphs` is whether CUDA graphs may be captured, `sharing` how many processes of ours use the GPU.

        Memory is pinned for `pixels` in flight; 0 for `pinned_memory.PIXELS`.
        """
        super().__init__(device)
        self._graphs, self._part, self._pixels = graphs, 1 / sharing, pixels or PIXELS
        self._beside_torch = 0
        """Bytes that were in use before the model was loaded, but not by torch: by others, and by CUDA itself."""

    def open(self) -> None:
        """Set the thread's current device, allocate pinned memory, create streams, find the GPU in NVML."""
        torch.cuda.set_device(self.device)  # streams, graphs and pinned memory belong to the thread's current device
        # Products of matrices are then as exact as convolutions, which sum up in 32 bits.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        if self._part < 1:
            torch.cuda.set_per_process_memory_fraction(self._part, self.device)
        self.gpu = open_gpu(device_uuid(self.device))
        self.memory = MemoryProbe(self._free, self._peak_during, self._others, self._share)
        self._beside_torch = self._used_beside_torch()
        self.capture = CudaCapture(self.device) if self._graphs else None
        arena = allocate_arena(self._pixels)
        if arena is None:
            self.slowdowns.append("main memory could not be pinned, so copies do not overlap with computation")
        else:
            self.transfers = StreamedTransfers(self.device, arena, CudaCopyStreams(self.device))

    def slots_for(self, count: int) -> int:
        """Return the next power of two."""
        return 1 << (count - 1).bit_length()

    def release_memory(self) -> None:
        """Release what torch's allocator caches."""
        torch.cuda.empty_cache()

    def _free(self) -> int:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        return min(free, self._share() - torch.cuda.memory_reserved(self.device))

    def _share(self) -> int:
        return int(torch.cuda.mem_get_info(self.device)[1] * self._part)

    def _others(self) -> int:
        """What nobody in this process uses; a little too much, where the driver does not say what this process does."""
        own = self.gpu.memory().get("process", 0) if self.gpu else 0
        free, total = torch.cuda.mem_get_info(self.device)
        return max(0, total - free - max(own, torch.cuda.memory_reserved(self.device)))

    def _used_beside_torch(self) -> int:
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free - torch.cuda.memory_reserved(self.device)

    def _peak_during(self, work: Callable[[], object]) -> int:
        """Measure torch's peak, and what other libraries have taken since the device was opened, and never return."""
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        taken = max(0, self._used_beside_torch() - self._beside_torch)
        return torch.cuda.max_memory_allocated(self.device) - before + taken


def device_uuid(device: torch.device) -> str:
    """Return the UUID of a CUDA device without the driver's prefix (`GPU-` or `MIG-`); empty for a CPU."""
    if device.type != "cuda":
        return ""
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))  # some builds of torch lack it


def device_memory(device: torch.device, gpu: Gpu | None = None) -> dict[str, int]:
    """Return a GPU's memory in bytes by kind; nothing for a CPU.

    `total` and `used` are of the whole GPU, `process` is what the driver attributes to this process. Torch's allocator
    has `allocated` (in use), `reserved` (in use or cached, which is no leak) and `peak` (most that was in use).
    """
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    from_torch = {
        "total": total,
        "used": total - free,
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "peak": torch.cuda.max_memory_allocated(device),
    }
    return from_torch | (gpu.memory() if gpu else {})
