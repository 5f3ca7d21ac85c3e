"""Runs ONNX files by onnxruntime, which reads and writes torch's memory directly (IO binding).

On a GPU the graph's kernels run on a stream of torch's, so that neither library waits for the other on the host. A file
with a fixed batch size is opened for larger ones if its graph allows that; otherwise its batches run in two sessions at
the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from inference.errors import ModelError
from inference.models.thirdparty.onnx_on_cuda import arena_options, use_libraries_of_torch
from inference.models.thirdparty.open_batch import open_batch
from inference.models.thirdparty.runtime_errors import as_model_errors

ERROR = 3
"""onnxruntime's log severity. Warnings are not logged; errors are raised as exceptions as well."""
LANES = 2
"""Sessions that run batches of a fixed size at the same time."""
FREE_FOR_LANE = 0.5
"""Share of a GPU's memory that must be free before another session is opened."""
TOLERANCE = 5e-3
"""A picture's matte may differ by this much between a batch and alone: other kernels round differently."""
_UNSYNCHRONISED = ("disable_synchronize_execution_providers", "1")
"""Run option: do not wait for the GPU after each run; torch's streams keep the order."""
DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}
)
"""Types that a graph's input and output may have, by onnxruntime's names."""


class _Stream(Protocol):
    """The part of `torch.cuda.Stream` that keeps work in order."""

    def wait_stream(self, other: Any, /) -> None:
        """Let later work on this stream wait for what is queued on another one."""
        ...


@dataclass
class _Lane:
    """One session. On a GPU, with the stream that its kernels run on."""

    session: Any
    stream: _Stream | None = None
    options: Any = None
    """Run options."""

    def run(self, feeds: Sequence[Tensor], outputs: Sequence[Tensor], names: tuple[str, str]) -> None:
        """Compute each output from its feed. On a GPU, this only queues the work."""
        for feed, output in zip(feeds, outputs, strict=True):
            binding = self.session.io_binding()
            binding.bind_input(names[0], *_memory(feed))
            binding.bind_output(names[1], *_memory(output))
            self.session.run_with_iobinding(binding, self.options)


@dataclass
class OnnxRunner:
    """One ONNX file on the CPU or, with onnxruntime-gpu, on a CUDA device."""

    path: Path
    for_gpu: bool | None = None
    """Whether to open batches and to run lanes, which pays on GPUs only; None: if the device is one."""
    opens_batch: bool = field(default=False, init=False)

    def load(self, device: torch.device) -> None:
        """Open a session on the device. Raises ModelError."""
        self._ort, self._device = _onnxruntime(), device
        self._shapes: dict[torch.Size, tuple[int, ...]] = {}
        with as_model_errors(self.path):
            self._lanes = [self._open_lane(str(self.path))]
        session = self._lanes[0].session
        [port] = [p for p in session.get_inputs() if p.name not in _initializers(session)]
        output = session.get_outputs()[0]
        self._names, self._rank = (port.name, output.name), len(port.shape)
        self._dtype, self._output_dtype = self._dtype_of(port), self._dtype_of(output)
        fixed = port.shape[0] if self._rank == 4 else None
        for_gpu = device.type == "cuda" if self.for_gpu is None else self.for_gpu
        if for_gpu and isinstance(fixed, int):
            self._speed_up(tuple(port.shape))

    @property
    def session(self) -> Any:
        """onnxruntime's own session, for measurements."""
        return self._lanes[0].session

    def run(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the first output for each batch; see `runners.Runner`."""
        feeds = [self._feed(batch) for batch in batches]
        with as_model_errors(self.path):
            outputs = [self._allocate(feed) for feed in feeds]
            self._run(feeds, outputs)
        return outputs

    # The device.

    def _open_lane(self, model: str | bytes) -> _Lane:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERROR
        if self._device.type != "cuda":
            return _Lane(self._ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        run_options = self._ort.RunOptions()
        run_options.add_run_config_entry(*_UNSYNCHRONISED)
        providers = _cuda_providers(self._ort, self._device, stream)
        session = self._ort.InferenceSession(model, options, providers=providers)
        if session.get_providers()[0] != "CUDAExecutionProvider":
            raise ModelError(
                f"onnxruntime could not use {self._device} and would fall back to the CPU: check which CUDA and cuDNN "
                "versions this onnxruntime-gpu needs, or choose --devices cpu."
            )
        return _Lane(session, stream, run_options)

    def _run(self, feeds: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Run all feeds, divided among the lanes. The current stream waits for the results, the host does not."""
        lanes = self._lanes[: len(feeds)]
        current: Any = torch.cuda.current_stream(self._device) if self._device.type == "cuda" else None
        for lane in lanes:
            if current and lane.stream:
                lane.stream.wait_stream(current)
        try:
            if len(lanes) == 1:
                lanes[0].run(feeds, outputs, self._names)
            else:
                self._run_at_once(lanes, feeds, outputs)
        finally:
            for lane in lanes:
                if current and lane.stream:
                    current.wait_stream(lane.stream)

    def _run_at_once(self, lanes: Sequence[_Lane], feeds: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        count = len(lanes)
        with ThreadPoolExecutor(count) as pool:
            runs = [
                pool.submit(lane.run, feeds[index::count], outputs[index::count], self._names)
                for index, lane in enumerate(lanes)
            ]
        for run in runs:
            run.result()

    # Memory.

    def _dtype_of(self, port: Any) -> torch.dtype:
        if port.type not in DTYPES:
            raise ModelError(f"{self.path} has {port.type} in {port.name!r}, which is neither a picture nor a matte.")
        return DTYPES[port.type]

    def _feed(self, batch: Tensor) -> Tensor:
        feed = batch.to(self._dtype).contiguous()
        return feed[None] if self._rank == feed.ndim + 1 else feed

    def _allocate(self, feed: Tensor) -> Tensor:
        """Allocate the output for a feed."""
        shape = self._shapes.get(feed.shape)
        if shape is None:
            shape = self._shapes[feed.shape] = self._output_shape(feed)
        return torch.empty(shape, dtype=self._output_dtype, device=self._device)

    def _output_shape(self, feed: Tensor) -> tuple[int, ...]:
        """Find the output's shape by running the graph: what a file states may be open, or wrong."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # this run does not wait for what computes the feed
        binding = self._lanes[0].session.io_binding()
        binding.bind_input(self._names[0], *_memory(feed))
        binding.bind_output(self._names[1], *_memory(feed)[:2])
        self._lanes[0].session.run_with_iobinding(binding)
        return tuple(binding.get_outputs()[0].shape())

    # A fixed batch size.

    def _speed_up(self, shape: tuple[int, ...]) -> None:
        """Open the batch, or else another lane."""
        if all(isinstance(side, int) for side in shape) and (lane := self._opened(shape)):
            self._lanes, self.opens_batch = [lane], True
            self._shapes.clear()
        elif self._has_memory_for_lane():
            with as_model_errors(self.path):
                self._lanes += [self._open_lane(str(self.path)) for _ in range(LANES - 1)]

    def _opened(self, shape: tuple[int, ...]) -> _Lane | None:
        """A session that takes any batch, or None if a batch's mattes differ from those of single pictures."""
        fixed, before = shape[0], self._lanes
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn((2 * fixed, *shape[1:]), generator=generator).to(self._device)
        try:
            content = open_batch(self.path, self._names[0])
            if content is None:
                return None
            alone = torch.cat(self.run(torch.split(pictures, fixed)))
            with as_model_errors(self.path):
                self._lanes = [self._open_lane(content)]
            [together] = self.run([pictures])
        except (ModelError, torch.OutOfMemoryError, ValueError, OSError):
            return None
        finally:
            lanes, self._lanes = self._lanes, before
        same = together.shape == alone.shape and torch.allclose(together.float(), alone.float(), atol=TOLERANCE)
        return lanes[0] if same else None

    def _has_memory_for_lane(self) -> bool:
        if self._device.type != "cuda":
            return True
        free, total = torch.cuda.mem_get_info(self._device)
        return free > FREE_FOR_LANE * total


def _memory(tensor: Tensor) -> tuple[str, int, Any, list[int], int]:
    """Device type, device index, element type, shape and address of a tensor, as IO binding takes them."""
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    return tensor.device.type, tensor.device.index or 0, dtype, list(tensor.shape), tensor.data_ptr()


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            "An .onnx model needs onnxruntime, which is not installed here: pip install 'alphadrop[onnx]', or "
            "onnxruntime-gpu for CUDA devices."
        ) from error
    return onnxruntime


def _cuda_providers(ort: Any, device: torch.device, stream: torch.cuda.Stream) -> list[Any]:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ModelError(
            f"This onnxruntime has no CUDA support, so an .onnx model cannot run on {device}: pip install "
            "onnxruntime-gpu instead of onnxruntime, or choose --devices cpu."
        )
    use_libraries_of_torch(ort)
    options = {"device_id": device.index or 0, "user_compute_stream": str(stream.cuda_stream), **arena_options(device)}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]


def _initializers(session: Any) -> set[str]:
    """Names of weights that files of old IR versions list among their inputs."""
    return {port.name for port in session.get_overridable_initializers()}
