"""What a device runs before the first picture comes: to have run it once, to see what fits, and to record it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from inference.device.batch_fitting import FEW, fitting
from inference.device.cuda_graphs import MOST_PIXELS, CudaGraphs, pattern
from inference.device.hardware import Hardware
from inference.models.base import MattingModel

Size = tuple[int, int]
"""Height and width of a canvas."""


class Rehearsal:
    """For the device thread, once its hardware is open and its model loaded."""

    def __init__(self, model: MattingModel, hardware: Hardware) -> None:
        self._model, self._hardware = model, hardware
        self.sizes: Sequence[Size] = model.canvases()

    @torch.inference_mode()
    def run(self, size: Size, count: int) -> None:
        """A batch for so many pictures, and one picture of the canvas's size."""
        device = self._hardware.device
        batch = torch.zeros((self._hardware.slots(count), 3, *size), dtype=self._model.dtype, device=device)
        picture = torch.zeros((*size, 4), dtype=torch.uint8, device=device)
        self._model.refine(picture, [part[:1] for part in self._model.coarse(batch)])

    def fits(self, size: Size, count: int) -> bool:
        """Whether there is memory for so many. Raises OutOfMemoryError where there is none for one."""
        try:
            self.run(size, count)
        except torch.OutOfMemoryError:
            if count == 1:
                raise
            return False
        return True

    def estimate(self, most: int) -> int:
        """How many should fit, by two small batches, but at most `most`; where FEW do not fit, no more than these."""
        memory = self._hardware.memory
        if memory is None or most <= FEW:
            return most
        try:
            one = memory.most_during(lambda: self.run(self.sizes[0], 1))
            few = memory.most_during(lambda: self.run(self.sizes[0], FEW))
        except torch.OutOfMemoryError:
            return FEW
        return fitting(memory.free(), one, few, most)

    def record(self, graphs: CudaGraphs, most: int) -> None:
        """The coarse step of every canvas and number of places, but for large ones."""
        hardware = self._hardware
        if not (hardware.recorder and self._model.recordable):
            return
        batches = (pattern(*shape, self._model.dtype, hardware.device) for shape in self._shapes(most))
        if problem := graphs.record(hardware.recorder, batches):
            hardware.slowdowns.append(f"recording CUDA graphs failed, so none are used: {problem}")
            hardware.give_back()
            self.run(self.sizes[0], 1)  # a device that did not survive it is to be found out now

    def _shapes(self, most: int) -> Iterator[tuple[int, Size]]:
        """The larger ones first: what these need of memory, those after them share."""
        places = sorted({self._hardware.slots(count) for count in range(1, most + 1)}, reverse=True)
        for height, width in self.sizes:
            yield from ((count, (height, width)) for count in places if count * height * width <= MOST_PIXELS)
