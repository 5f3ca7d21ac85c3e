"""How fast two models are alone and as a cascade, measured in turn on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from itertools import count as counted

from inference.cascade import STRONG_CPU_BATCH, STRONG_GPU_BATCH, Cascade, Router
from inference.engine import Engine, EngineOptions, SharedDevice
from inference.models.base import MattingModel
from inference.picture import Cutout, Picture
from watcher.commands.bench.timing import Times

FAST, STRONG, CASCADE = "fast model", "strong model", "cascade"


def sending(sent: int, count: int) -> Router:
    """Send `sent` of every `count` pictures, evenly spread, whatever their confidence is.

    >>> route = sending(2, 4)
    >>> [route(0.9) for _ in range(4)]
    [False, True, False, True]
    """
    numbers = counted(1)

    def route(confidence: float) -> bool:
        number = next(numbers)
        return number * sent // count > (number - 1) * sent // count

    return route


def measure_cascade(
    options: EngineOptions,
    fast: MattingModel,
    strong: MattingModel,
    pictures: Sequence[Picture],
    sent: int,
    repeats: int,
) -> dict[str, Times]:
    """Times for all pictures, by way: each model alone, and the cascade, which sends `sent` of the pictures on."""
    times = {name: Times() for name in (FAST, STRONG, CASCADE)}
    with _opened(options, fast, strong, sending(sent, len(pictures))) as cascade:
        ways: dict[str, Callable[[Picture], Future[Cutout]]] = {
            FAST: cascade.fast.submit,
            STRONG: cascade.strong.submit,
            CASCADE: cascade.submit,
        }
        for submit in ways.values():
            submit(pictures[0]).result()
        for _ in range(repeats):
            for name, submit in ways.items():  # in turn, so that other load on the machine meets them all
                with times[name].measure():
                    for future in [submit(picture) for picture in pictures]:
                        future.result()
    return times


@contextmanager
def _opened(options: EngineOptions, fast: MattingModel, strong: MattingModel, router: Router) -> Iterator[Cascade]:
    """Both engines as in a worker, started."""
    shared, most = SharedDevice(), STRONG_CPU_BATCH if options.device == "cpu" else STRONG_GPU_BATCH
    options = replace(options, sharing=2 * options.sharing)
    slow = replace(options, batch=most)
    with Cascade(
        Engine(options, model=fast, shared=shared), Engine(slow, model=strong, shared=shared), router
    ) as cascade:
        yield cascade
