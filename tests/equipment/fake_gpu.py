"""A card that is none: a CPU which copies late, counts memory and records, to try what is built upon a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inference.device.batch_fitting import Memory
from inference.device.cuda_graphs import Recorder
from inference.device.hardware import Hardware
from inference.device.pinned_memory import Arena
from inference.device.transfers import StreamedTransfers
from inference.models.fake import FakeModel


class LateLanes:
    """Copies down when waited for or asked for the second time; notices memory that is written into too early."""

    def __init__(self) -> None:
        self.late: list[LateCopy] = []
        self.reading: list[tuple[Tensor, Tensor]] = []

    def up(self, pixels: Tensor) -> Tensor:
        self.reading.append((pixels, pixels.clone()))
        return pixels.clone()

    def down(self, rgba: Tensor, into: Tensor) -> LateCopy:
        into.fill_(77)
        self.late.append(LateCopy(lambda: into.copy_(rgba)))
        return self.late[-1]

    def settle(self) -> None:
        for pixels, before in self.reading:
            assert torch.equal(pixels, before), "the memory of a picture was used again before it had gone up"
        self.reading.clear()


class LateCopy:
    """One copy down."""

    def __init__(self, copy: Callable[[], object]) -> None:
        self._copy: Callable[[], object] | None = copy
        self.asked = self.waited = 0

    def query(self) -> bool:
        self.asked += 1
        return self._copy is None or (self.asked > 1 and self._run())

    def synchronize(self) -> None:
        self.waited += 1
        self._run()

    def _run(self) -> bool:
        if self._copy:
            self._copy()
        self._copy = None
        return True


class FakeGpu(Hardware):
    """See the module's docstring. `pinned` bytes; a batch of n pictures takes `fixed` + n * `each` of `free` bytes."""

    warms_up = True

    def __init__(
        self,
        model: FakeModel,
        *,
        pinned: int = 1 << 22,
        free: int = 1 << 40,
        each: int = 1,
        fixed: int = 0,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(torch.device("cpu"))
        self._model, self._free, self._each, self._fixed = model, free, each, fixed
        self.lanes, self.arena = LateLanes(), Arena(torch.zeros(pinned, dtype=torch.uint8))
        self.recorder = recorder
        self.memory = Memory(lambda: free, self._most_during)

    def open(self) -> None:
        self.transfers = StreamedTransfers(self.device, self.arena, self.lanes)

    def slots(self, count: int) -> int:
        return 1 << (count - 1).bit_length()

    def _most_during(self, work: Callable[[], object]) -> int:
        work()
        return self._fixed + self._each * self._model.batches[-1]


class Tape:
    """A recorder that plays the model's step again, into the same memory each time, as a graph does."""

    def __init__(self, wrong: float = 0.0) -> None:
        """`wrong` is added to what it gives."""
        self.shapes: list[tuple[int, ...]] = []
        self.played: list[int] = []
        self._wrong = wrong

    def __call__(self, coarse: Callable[[Tensor], Sequence[Tensor]], batch: Tensor) -> Callable[..., Sequence[Tensor]]:
        self.shapes.append(tuple(batch.shape))
        kept = [part.clone() for part in coarse(batch)]

        def play(other: Tensor) -> Sequence[Tensor]:
            self.played.append(len(other))
            for part, new in zip(kept, coarse(batch.copy_(other)), strict=True):
                part.copy_(new + self._wrong)
            return kept

        return play
