"""The ways in which an ONNX model can be run on a device, measured against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.models.entry import ModelEntry
from inference.models.thirdparty.onnx_runner import OnnxRunner

Method = Callable[[Tensor], object]
"""Runs a batch."""
MAIN_MEMORY, BINDING, LANES, OPENED = (
    "main memory",
    "IO binding",
    "IO binding, two sessions",
    "IO binding, opened batch",
)
RUNS = 2
"""Runs before the measured ones."""


def measure_methods(
    entry: ModelEntry, device: torch.device, batches: Sequence[int], repeats: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each run of a batch, by method and batch size."""
    assert entry.path is not None
    height, width = (fixed or entry.canvas for fixed in entry.fixed[1:])
    pictures = torch.rand((max(batches), 3, height, width), generator=torch.Generator().manual_seed(0)).to(device)
    methods = _methods(entry.path, device, entry.fixed[0])
    found: dict[str, dict[str, list[float]]] = {name: {str(batch): [] for batch in batches} for name in methods}
    for batch in batches:
        for number in range(RUNS + repeats):
            for name, method in methods.items():  # in turn, so that other load on the machine meets them all
                seconds = _seconds(method, pictures[:batch], device)
                if number >= RUNS:
                    found[name][str(batch)].append(seconds)
    return found


def _methods(path: Path, device: torch.device, fixed: int) -> Mapping[str, Method]:
    bound, fast = OnnxRunner(path, for_gpu=False), OnnxRunner(path, for_gpu=True)
    bound.load(device)
    fast.load(device)

    def pieces(batch: Tensor) -> Sequence[Tensor]:
        return torch.split(batch, fixed or len(batch))

    methods: dict[str, Method] = {
        MAIN_MEMORY: lambda batch: [_through_main_memory(bound, piece) for piece in pieces(batch)],
        BINDING: lambda batch: bound.run(pieces(batch)),
    }
    if fast.opens_batch:
        methods[OPENED] = lambda batch: fast.run([batch])
    elif fixed:
        methods[LANES] = lambda batch: fast.run(pieces(batch))
    return methods


def _through_main_memory(runner: OnnxRunner, piece: Tensor) -> Any:
    """What onnxruntime does with arrays: copy them to its device and back."""
    session = runner.session
    feed = {session.get_inputs()[0].name: piece.cpu().numpy()}
    return torch.from_numpy(session.run([session.get_outputs()[0].name], feed)[0]).to(piece.device)


def _seconds(method: Method, batch: Tensor, device: torch.device) -> float:
    started = time.perf_counter()
    method(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
