"""Warm-up: runs every shape before the first picture, finds the largest batch that fits, and captures CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from inference.device.cuda_graphs import MAX_PIXELS, CudaGraphs, varied_batch
from inference.device.hardware import Hardware
from inference.models.base import MattingModel
from inference.models.memory_errors import is_out_of_memory

Size = tuple[int, int]
"""Height and width of a canvas."""

PROBE_BATCH = 8
"""Pictures in the larger of the two batches whose memory is measured."""
USABLE_SHARE = 0.75
"""Of the free memory: allocators waste some, and other processes may need some."""
RESERVED_BYTES = 2 << 30
"""For pictures at their own size, some 25 bytes for each of the 64 million pixels of a batch, and for the edge head's
windows: the warm-up has neither."""


class Warmup:
    """Runs before the first picture, in the device thread, once the hardware is open and the model loaded."""

    def __init__(self, model: MattingModel, hardware: Hardware) -> None:
        self._model, self._hardware = model, hardware
        self.sizes: Sequence[Size] = model.canvases()

    @torch.inference_mode()
    def run(self, size: Size, count: int) -> None:
        """Run a batch of `count` canvases of this size, and refine one picture of the same size."""
        device = self._hardware.device
        batch = torch.zeros((self._hardware.slots_for(count), 3, *size), dtype=self._model.dtype, device=device)
        picture = torch.zeros((*size, 4), dtype=torch.uint8, device=device)
        self._model.refine(picture, [part[:1] for part in self._model.coarse(batch)])

    def fits(self, size: Size, count: int) -> bool:
        """Whether memory suffices for a batch of `count`. Raises OutOfMemoryError if it does not even for one."""
        try:
            self.run(size, count)
        except Exception as error:
            if count == 1 or not is_out_of_memory(error):
                raise
            return False
        return True

    def estimate_batch(self, most: int) -> int:
        """Estimate the largest batch that fits, at most `most`, from the memory that two small ones take.

        If PROBE_BATCH does not fit, that is the estimate, to be reduced by trying.
        """
        memory = self._hardware.memory
        if memory is None or most <= PROBE_BATCH:
            return most
        try:
            one = memory.peak_during(lambda: self.run(self.sizes[0], 1))
            several = memory.peak_during(lambda: self.run(self.sizes[0], PROBE_BATCH))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return PROBE_BATCH
        return largest_batch(memory.free(), one, several, most)

    def capture(self, graphs: CudaGraphs, most: int) -> None:
        """Capture the coarse step for every canvas and number of slots, unless the batch is too large for a gain."""
        hardware = self._hardware
        if not (hardware.capture and self._model.capturable):
            return
        batches = (varied_batch(*shape, self._model.dtype, hardware.device) for shape in self._shapes(most))
        if problem := graphs.capture(hardware.capture, batches):
            hardware.slowdowns.append(f"capturing CUDA graphs failed, so none are used: {problem}")
            hardware.release_memory()
            self.run(self.sizes[0], 1)  # fails now if the device did not survive the capture

    def _shapes(self, most: int) -> Iterator[tuple[int, Size]]:
        """Yield slots and canvas, larger batches first: smaller ones share their memory."""
        slots = sorted({self._hardware.slots_for(count) for count in range(1, most + 1)}, reverse=True)
        for height, width in self.sizes:
            yield from ((count, (height, width)) for count in slots if count * height * width <= MAX_PIXELS)


def largest_batch(free: int, one: int, several: int, most: int, count: int = PROBE_BATCH) -> int:
    """Return the largest batch, a power of two or `most`, that fits into `free` bytes; at least 1.

    `one` and `several` are the bytes that batches of 1 and of `count` take; memory is assumed to grow linearly.
    """
    each = max(1, (several - one) // (count - 1))
    fixed = max(0, one - each)
    fitting = int((int(free * USABLE_SHARE) - RESERVED_BYTES - fixed) // each)
    return most if fitting >= most else 1 << max(0, fitting.bit_length() - 1) if fitting > 0 else 1
