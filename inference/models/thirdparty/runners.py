"""Runners: third-party graphs executed by onnxruntime or torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.thirdparty import torch_archives

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory")
"""Parts of the messages of allocation failures; onnxruntime and torch have no exception class for them."""
ERROR = 3
"""onnxruntime's log severity. Warnings are not logged; errors are raised as exceptions as well."""


class Runner(Protocol):
    """One graph on one device."""

    def load(self, device: torch.device) -> None:
        """Load the file onto the device. Raises ModelError."""
        ...

    def run(self, batch: Tensor) -> Tensor:
        """Return the graph's first output. Raises ModelError if the graph rejects its input, or OutOfMemoryError."""
        ...


def make_runner(entry: ModelEntry) -> Runner:
    """Make the runner for an entry's file; nothing is loaded yet."""
    assert entry.path is not None
    if entry.kind == "onnx":
        return OnnxRunner(entry.path)
    return TorchRunner(entry.path, _load_torchscript if entry.kind == "torchscript" else _load_exported)


class OnnxRunner:
    """Runs ONNX by onnxruntime, on the CPU or, with onnxruntime-gpu, on a CUDA device."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, device: torch.device) -> None:
        """Open a session on the device. Raises ModelError."""
        ort = _onnxruntime()
        self._device = device
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ERROR
        providers = _providers(ort, device)
        with _as_model_errors(self._path):
            self._session = ort.InferenceSession(str(self._path), options, providers=providers)
        if device.type == "cuda" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise ModelError(
                f"onnxruntime could not use {device} and would fall back to the CPU: check which CUDA and cuDNN "
                "versions this onnxruntime-gpu needs, or choose --devices cpu."
            )
        [port] = [p for p in self._session.get_inputs() if p.name not in _initializers(self._session)]
        self._input, self._output = port, self._session.get_outputs()[0].name
        self._dtype = np.dtype(np.float16 if "float16" in port.type else np.float32)

    def run(self, batch: Tensor) -> Tensor:
        """Return the first output. The data passes through main memory: onnxruntime copies it to its device."""
        array = batch.cpu().numpy().astype(self._dtype, copy=False)
        if len(self._input.shape) == array.ndim + 1:
            array = array[None]
        with _as_model_errors(self._path):
            [first] = self._session.run([self._output], {self._input.name: array})
        return torch.from_numpy(np.asarray(first)).to(self._device)


class TorchRunner:
    """Runs TorchScript and torch.export archives."""

    def __init__(self, path: Path, load: Callable[[Path], Any]) -> None:
        self._path, self._load = path, load

    def load(self, device: torch.device) -> None:
        """Load the archive onto the device. Raises ModelError."""
        with _as_model_errors(self._path):
            self._module = self._load(self._path).to(device)
            # Only `forward`, without TorchScript hooks, whose code has not been checked.
            self._run = self._module.forward if isinstance(self._module, torch.jit.ScriptModule) else self._module
            self._dtype = next((p.dtype for p in self._module.parameters() if p.is_floating_point()), torch.float32)

    def run(self, batch: Tensor) -> Tensor:
        """Return the first tensor of what the module returns."""
        with _as_model_errors(self._path):
            first = _first(self._run(batch.to(self._dtype)))
        if first is None:
            raise ModelError(f"{self._path} returned no tensor.")
        return first


def _load_torchscript(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch recommends torch.export instead, but files exist
        module = torch.jit.load(torch_archives.checked_torchscript(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    for operation in _operations(module.forward.inlined_graph):
        if not torch_archives.is_pure(operation):
            raise ModelError(f"{path} calls {operation}, which might access files or other code: it is not run.")
    return module


def _operations(block: Any) -> Iterator[str]:
    """Yield the operations of a graph or block, including nested ones."""
    for node in block.nodes():
        yield node.kind()
        graphs = [node.g(name) for name in node.attributeNames() if node.kindOf(name) == "g"]
        for inner in (*node.blocks(), *graphs):
            yield from _operations(inner)


def _load_exported(path: Path) -> Any:
    program = torch.export.load(torch_archives.checked_export(path))
    return program.module()


def _first(output: Any) -> Tensor | None:
    """Return the first tensor of an arbitrarily nested list, tuple or dictionary."""
    if isinstance(output, Tensor):
        return output
    inner = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return next((found for part in inner if (found := _first(part)) is not None), None)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            "An .onnx model needs onnxruntime, which is not installed here: pip install 'alphadrop[onnx]', or "
            "onnxruntime-gpu for CUDA devices."
        ) from error
    return onnxruntime


def _providers(ort: Any, device: torch.device) -> list[Any]:
    if device.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ModelError(
            f"This onnxruntime has no CUDA support, so an .onnx model cannot run on {device}: pip install "
            "onnxruntime-gpu instead of onnxruntime, or choose --devices cpu."
        )
    return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]


def _initializers(session: Any) -> set[str]:
    """Names of weights that files of old IR versions list among their inputs."""
    return {port.name for port in session.get_overridable_initializers()}


@contextmanager
def _as_model_errors(path: Path) -> Iterator[None]:
    """Convert a runtime's exceptions to ModelError, and those for lack of memory to OutOfMemoryError."""
    try:
        yield
    except (ModelError, torch.OutOfMemoryError, torch.AcceleratorError, MemoryError):
        raise
    except Exception as error:  # the runtimes' exceptions have no common base class
        text = " ".join(str(error).split())
        if any(word in text.lower() for word in _OUT_OF_MEMORY):
            raise torch.OutOfMemoryError(text) from error
        raise ModelError(f"{path} cannot be used ({type(error).__name__}): {text[:500]}") from error
