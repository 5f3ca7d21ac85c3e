"""Runners: third-party graphs executed by torch, or by onnxruntime (`onnx_runner`)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.thirdparty import torch_archives
from inference.models.thirdparty.onnx_runner import OnnxRunner
from inference.models.thirdparty.runtime_errors import as_model_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Runner(Protocol):
    """One graph on one device."""

    opens_batch: bool
    """Whether it takes batches of any size although the file fixes one; known when the file is loaded."""

    def load(self, device: torch.device) -> None:
        """Load the file onto the device. Raises ModelError."""
        ...

    def run(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the graph's first output for each batch. All batches have one shape.

        Raises ModelError if the graph rejects its input, or OutOfMemoryError.
        """
        ...


def make_runner(entry: ModelEntry) -> Runner:
    """Make the runner for an entry's file; nothing is loaded yet."""
    assert entry.path is not None
    if entry.kind == "onnx":
        return OnnxRunner(entry.path)
    return TorchRunner(entry.path, _load_torchscript if entry.kind == "torchscript" else _load_exported)


class TorchRunner:
    """Runs TorchScript and torch.export archives."""

    opens_batch = False

    def __init__(self, path: Path, load: Callable[[Path], Any]) -> None:
        self._path, self._load = path, load

    def load(self, device: torch.device) -> None:
        """Load the archive onto the device. Raises ModelError."""
        with as_model_errors(self._path):
            self._module = self._load(self._path).to(device)
            # Only `forward`, without TorchScript hooks, whose code has not been checked.
            self._run = self._module.forward if isinstance(self._module, torch.jit.ScriptModule) else self._module
            self._dtype = next((p.dtype for p in self._module.parameters() if p.is_floating_point()), torch.float32)

    def run(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the first tensor of what the module returns for each batch."""
        return [self._run_one(batch) for batch in batches]

    def _run_one(self, batch: Tensor) -> Tensor:
        with as_model_errors(self._path):
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
