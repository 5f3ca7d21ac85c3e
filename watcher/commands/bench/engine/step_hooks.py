"""Hooks around the steps of the device thread, so that the code that is measured is the code that runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

import inference.device.thread
from inference.device.cuda_graphs import CudaGraphs
from inference.models.base import MattingModel
from watcher.commands.bench.timing import Times

Hook = Callable[[str], AbstractContextManager[Any]]
"""Makes the context manager that a call of the named step runs in."""

THREAD_STEPS = {"upload": "upload", "decontaminate": "cut_out"}
"""Steps that are functions of the module `thread`, by the function's name. All other steps are methods."""


@contextmanager
def wrap_steps(model: MattingModel, hook: Hook) -> Iterator[None]:
    """Until the block ends, run every step of a device thread that has this model within `hook(step)`."""
    targets: list[tuple[object, str, str]] = [(model, "refine", "refine"), (CudaGraphs, "coarse", "coarse")]
    targets += [(inference.device.thread, step, name) for step, name in THREAD_STEPS.items()]
    originals = [(owner, name, getattr(owner, name)) for owner, _, name in targets]
    for (owner, step, name), (_, _, function) in zip(targets, originals, strict=True):
        setattr(owner, name, _wrapped(function, step, hook))
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _wrapped(function: Callable[..., Any], step: str, hook: Hook) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with hook(step):
            return function(*args, **options)

    return run


class StepTimer:
    """A hook that measures wall and CPU seconds of each step; it synchronises the device before and after a step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.steps: dict[str, Times] = defaultdict(Times)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        synchronize(self._device)
        with self.steps[step].measure():
            yield
            synchronize(self._device)

    def clear(self) -> None:
        """Discard all times, after a warm-up."""
        self.steps.clear()


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all work that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
