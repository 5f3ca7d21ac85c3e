"""Hooks around the steps of the device thread, so that the code that is measured is the code that runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

import inference.device.thread
from inference.device.cuda_graphs import CudaGraphs
from inference.foreground import batched
from inference.models import batched_band
from inference.models.base import MattingModel
from watcher.commands.bench.timing import Times

Hook = Callable[[str], AbstractContextManager[Any]]
"""Makes the context manager that a call of the named step runs in."""

Target = tuple[object, str, str]
"""A module, class or object, the name of its function, and the step that the function is."""

THREAD_STEPS = {
    "upload": "upload",
    "upload_all": "upload",
    "cut_out": "decontaminate",
    "cut_out_all": "decontaminate",
}
"""The step of each function of the module `thread` that is one. All other steps are methods."""


def wrap_steps(model: MattingModel, hook: Hook) -> AbstractContextManager[None]:
    """Until the block ends, run every step of a device thread that has this model within `hook(step)`."""
    targets: list[Target] = [(model, name, "refine") for name in ("refine", "refine_all")]
    targets.append((CudaGraphs, "coarse", "coarse"))
    return wrap_functions(
        [*targets, *((inference.device.thread, name, step) for name, step in THREAD_STEPS.items())], hook
    )


def fine_steps(model: MattingModel) -> list[Target]:
    """List the steps of a whole batch; some are within others, such as the pyramid within the edge head."""
    thread = inference.device.thread
    return [
        (thread, "upload_all", "upload"),
        (thread, "to_canvases", "canvas"),
        (CudaGraphs, "coarse", "coarse"),
        (model, "refine_all", "edge head"),
        (batched_band, "pyramid", "pyramid"),
        (batched_band, "upsample", "lifting"),
        (thread, "cut_out_all", "cut-out"),
        (batched, "decontaminate", "decontamination"),
    ]


@contextmanager
def wrap_functions(targets: Sequence[Target], hook: Hook) -> Iterator[None]:
    """Until the block ends, run these functions within `hook(step)`."""
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in targets]
    for (owner, name, step), (_, _, function) in zip(targets, originals, strict=True):
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
