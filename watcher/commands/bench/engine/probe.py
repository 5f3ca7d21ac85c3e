"""Puts something around the steps of a device thread, wherever it calls them: what is measured is what runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

import inference.device.thread
from inference.device.cuda_graphs import Graphs
from inference.models.base import MattingModel
from watcher.commands.bench.timing import Times

Around = Callable[[str], AbstractContextManager[Any]]

THREAD_STEPS = {"upload": "upload", "decontaminate": "cut_out"}
"""Steps and the functions of the device thread's module that do them; the others are methods."""


@contextmanager
def around_steps(model: MattingModel, around: Around) -> Iterator[None]:
    """While inside, each step of a device thread with this model happens within `around(step)`."""
    places: list[tuple[object, str, str]] = [(model, "refine", "refine"), (Graphs, "coarse", "coarse")]
    places += [(inference.device.thread, step, name) for step, name in THREAD_STEPS.items()]
    before = [(place, name, getattr(place, name)) for place, _, name in places]
    for (place, step, name), (_, _, function) in zip(places, before, strict=True):
        setattr(place, name, _wrapped(function, step, around))
    try:
        yield
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def _wrapped(function: Callable[..., Any], step: str, around: Around) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with around(step):
            return function(*args, **options)

    return run


class StepClock:
    """Wall and CPU seconds of each step; waits for the device at both ends of it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.steps: dict[str, Times] = defaultdict(Times)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        settle(self._device)
        with self.steps[step].one():
            yield
            settle(self._device)

    def clear(self) -> None:
        """Forget what was a warm-up."""
        self.steps.clear()


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
