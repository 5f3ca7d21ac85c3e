"""CUDA graphs of a model's coarse step: hundreds of kernels in one launch, where launching them dominates the time.

A graph is captured once for each shape of a batch, and always reads and writes the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inference.device.reviewed import CoarseModel

MAX_PIXELS = 1 << 21
"""Canvas pixels of a captured batch, at most. Larger ones keep the device busy while kernels are launched."""
TOLERANCE = 1 / 255
"""Absolute and relative difference that is allowed between the results of a graph and of the model itself."""
WARMUP_RUNS = 3
"""Runs before a capture, in which libraries choose their kernels and allocate their workspaces."""

CoarseStep = Callable[[Tensor], Sequence[Tensor]]
CaptureGraph = Callable[[CoarseStep, Tensor], CoarseStep]
"""Captures a step as it runs with this batch; returns a step that replays it for any batch of the same shape."""


class CudaGraphs:
    """`model.coarse`: replayed for the shapes that were captured, called for all others."""

    def __init__(self, model: CoarseModel) -> None:
        self._model = model
        self._captured: dict[torch.Size, CoarseStep] = {}

    def __len__(self) -> int:
        return len(self._captured)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """See `MattingModel.coarse`. The next call with the same shape overwrites the result, in the stream's order."""
        return self._captured.get(batch.shape, self._model.coarse)(batch)

    @torch.inference_mode()
    def capture(self, capture: CaptureGraph, batches: Iterable[Tensor]) -> str:
        """Capture the shape of each batch and verify the result. Returns an error; then no graph is used at all."""
        try:
            for batch in batches:
                replay = capture(self._model.coarse, torch.zeros_like(batch))
                self._captured[batch.shape] = self._verified(replay, batch)
        except RuntimeError as error:  # torch has no exception class of its own for a failed capture
            self._captured.clear()
            return f"{type(error).__name__}: {error}"
        return ""

    def _verified(self, replay: CoarseStep, batch: Tensor) -> CoarseStep:
        """Return the step if it computes what the model does. Raises RuntimeError otherwise."""
        expected, results = self._model.coarse(batch), replay(batch)
        if len(expected) != len(results) or not all(map(agree, expected, results)):
            raise RuntimeError(f"for {tuple(batch.shape)} the graph's results differ from the model's")
        return replay


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two results are equal within TOLERANCE; NaN agrees with nothing."""
    return torch.allclose(one.float(), other.float(), TOLERANCE, TOLERANCE)


def varied_batch(slots: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make a batch of pictures that all differ: slots x 3 x h x w in 0..1."""
    generator = torch.Generator().manual_seed(slots)
    rough = torch.rand((slots, 3, 8, 8), generator=generator).to(device)
    return torch.nn.functional.interpolate(rough, size, mode="bilinear").to(dtype)


class CudaCapture:
    """A `CaptureGraph` for one device. Its graphs run one after the other on one stream, so they share their memory."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, coarse: CoarseStep, batch: Tensor) -> CoarseStep:
        """See `CaptureGraph`. Raises RuntimeError for a step that cannot be captured."""
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(batch.device))
        # Also restores the previous stream after a failed capture, which `torch.cuda.graph` alone does not.
        with torch.cuda.stream(self._stream):
            for _ in range(WARMUP_RUNS):
                coarse(batch)
            # Other threads query the GPU's memory meanwhile, which the default mode would treat as an error.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                results = coarse(batch)
        torch.cuda.current_stream(batch.device).wait_stream(self._stream)

        def replay(other: Tensor) -> Sequence[Tensor]:
            # What uses the previous results was launched earlier on this stream, so they may be overwritten.
            batch.copy_(other)
            graph.replay()
            return results

        return replay
