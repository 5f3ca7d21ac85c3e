"""A fake GPU on the CPU: it delays copies, counts memory and replays steps, to test what is built for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inference.device.cuda_graphs import CaptureGraph
from inference.device.hardware import Hardware, MemoryProbe
from inference.device.pinned_memory import Arena
from inference.device.transfers import StreamedTransfers
from inference.models.fake import FakeModel


class DelayedCopies:
    """`CopyStreams` that download as late as possible, and fail if an upload's memory is overwritten too early."""

    def __init__(self) -> None:
        self.downloads: list[DelayedCopy] = []
        self.uploads: list[tuple[Tensor, Tensor]] = []

    def upload(self, pixels: Tensor) -> Tensor:
        self.uploads.append((pixels, pixels.clone()))
        return pixels.clone()

    def download(self, rgba: Tensor, into: Tensor) -> DelayedCopy:
        into.fill_(77)
        self.downloads.append(DelayedCopy(lambda: into.copy_(rgba)))
        return self.downloads[-1]

    def finish_uploads(self) -> None:
        for pixels, before in self.uploads:
            assert torch.equal(pixels, before), "a picture's memory was reused before its upload had finished"
        self.uploads.clear()


class DelayedCopy:
    """A `CopyEvent`; the copy happens in the second `query`, or in `synchronize`."""

    def __init__(self, copy: Callable[[], object]) -> None:
        self._copy: Callable[[], object] | None = copy
        self.queries = self.waits = 0

    def query(self) -> bool:
        self.queries += 1
        return self._copy is None or (self.queries > 1 and self._run())

    def synchronize(self) -> None:
        self.waits += 1
        self._run()

    def _run(self) -> bool:
        if self._copy:
            self._copy()
        self._copy = None
        return True


class FakeGpu(Hardware):
    """A device of the engine on the CPU that behaves like a GPU; see the module's docstring.

    It has `pinned` bytes of pinned memory; a batch of n pictures takes `fixed` + n * `each` of its `free` bytes.
    """

    needs_warmup = True
    whole_batches = True

    def __init__(
        self,
        model: FakeModel,
        *,
        pinned: int = 1 << 22,
        free: int = 1 << 40,
        each: int = 1,
        fixed: int = 0,
        capture: CaptureGraph | None = None,
    ) -> None:
        super().__init__(torch.device("cpu"))
        self._model, self._free, self._each, self._fixed = model, free, each, fixed
        self.copies, self.arena = DelayedCopies(), Arena(torch.zeros(pinned, dtype=torch.uint8))
        self.capture = capture
        self.memory = MemoryProbe(lambda: free, self._peak_during)

    def open(self) -> None:
        self.transfers = StreamedTransfers(self.device, self.arena, self.copies)

    def slots_for(self, count: int) -> int:
        return 1 << (count - 1).bit_length()

    def _peak_during(self, work: Callable[[], object]) -> int:
        work()
        return self._fixed + self._each * self._model.batches[-1]


class FakeCapture:
    """A `CaptureGraph` whose steps call the model again, and write to the same memory each time, as a graph does."""

    def __init__(self, wrong: float = 0.0) -> None:
        """`wrong` is added to each result."""
        self.shapes: list[tuple[int, ...]] = []
        self.replayed: list[int] = []
        self._wrong = wrong

    def __call__(self, coarse: Callable[[Tensor], Sequence[Tensor]], batch: Tensor) -> Callable[..., Sequence[Tensor]]:
        self.shapes.append(tuple(batch.shape))
        results = [part.clone() for part in coarse(batch)]

        def replay(other: Tensor) -> Sequence[Tensor]:
            self.replayed.append(len(other))
            for part, new in zip(results, coarse(batch.copy_(other)), strict=True):
                part.copy_(new + self._wrong)
            return results

        return replay
