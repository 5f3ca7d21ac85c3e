"""The coarse step as CUDA graphs: hundreds of kernels in one launch, where launching them takes longer than they do.

A graph is recorded once for each shape and reads and writes the same memory ever after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inference.models.base import MattingModel

MOST_PIXELS = 1 << 21
"""Of all canvases of a batch. More keep the device busy while it is told what comes next, and would cost memory."""
TOLERANCE = 1 / 255
"""Absolute and relative: by how much a graph's result may differ from that of the model itself."""
WARM_UPS = 3
"""Runs before one is recorded: libraries choose their kernels and take their memory in the first ones."""

Coarse = Callable[[Tensor], Sequence[Tensor]]
Recorder = Callable[[Coarse, Tensor], Coarse]
"""Records a function as it runs with this batch, and gives what does the same with any other batch of its shape."""


class CudaGraphs:
    """`model.coarse`: recorded for the shapes that `record` was given, for all others as it is."""

    def __init__(self, model: MattingModel) -> None:
        self._model = model
        self._recorded: dict[torch.Size, Coarse] = {}

    def __len__(self) -> int:
        return len(self._recorded)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """See `MattingModel.coarse`; to be used up before the next batch of the same shape, in the stream's order."""
        return self._recorded.get(batch.shape, self._model.coarse)(batch)

    @torch.inference_mode()
    def record(self, recorder: Recorder, batches: Iterable[Tensor]) -> str:
        """Record each one's shape; where any fails or gives something else, none is used. Why, or nothing."""
        try:
            for batch in batches:
                self._recorded[batch.shape] = self._proven(recorder(self._model.coarse, torch.zeros_like(batch)), batch)
        except RuntimeError as error:  # torch has no class of its own for it
            self._recorded.clear()
            return f"{type(error).__name__}: {error}"
        return ""

    def _proven(self, recorded: Coarse, batch: Tensor) -> Coarse:
        """Raises RuntimeError."""
        wanted, found = self._model.coarse(batch), recorded(batch)
        if len(wanted) != len(found) or not all(map(agree, wanted, found)):
            raise RuntimeError(f"for {tuple(batch.shape)} it gives something else than the model itself")
        return recorded


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether they are the same but for TOLERANCE; what is no number agrees with nothing."""
    return torch.allclose(one.float(), other.float(), TOLERANCE, TOLERANCE)


def pattern(slots: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A batch in which every picture is another one: slots x 3 x h x w in 0..1."""
    generator = torch.Generator().manual_seed(slots)
    rough = torch.rand((slots, 3, 8, 8), generator=generator).to(device)
    return torch.nn.functional.interpolate(rough, size, mode="bilinear").to(dtype)


class CudaRecorder:
    """Graphs of one device, which run on one stream one after the other and so may share their memory."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, coarse: Coarse, batch: Tensor) -> Coarse:
        """Raises RuntimeError where the function does what cannot be recorded."""
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(batch.device))
        # This also brings back the stream of before where a recording fails, which `torch.cuda.graph` does not.
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                coarse(batch)
            # Other threads ask the driver for the card's memory meanwhile, which only this mode tolerates.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                results = coarse(batch)
        torch.cuda.current_stream(batch.device).wait_stream(self._stream)

        def replay(other: Tensor) -> Sequence[Tensor]:
            # Whatever used the last results was launched before on this stream: they may be overwritten.
            batch.copy_(other)
            graph.replay()
            return results

        return replay
