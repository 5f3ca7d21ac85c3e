"""The daemon's rate while all of its workers have work: neither their start nor their end counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watcher.commands.bench.daemon.process_log import CommandFailed
from watcher.commands.bench.daemon.run_once import Once, Ran, run_once
from watcher.commands.bench.engine.ceiling import common_time, steady_rate
from watcher.commands.bench.plan import Bench
from watcher.fleet.devices import expand

TRIES = 6
"""Each has twice the images of the one before."""
RunOnce = Callable[[Path, Once], Ran]
"""Takes a folder of images."""


@dataclass(frozen=True)
class Steady:
    """What a run was like while all workers had work."""

    ran: Ran
    rate: float
    """Images a second."""
    cpu: float
    """CPU seconds an image, of all processes."""
    supervisor: float
    """Of those, the supervisor's."""

    @classmethod
    def of(cls, ran: Ran, workers: int, least: int) -> Self:
        """Raises ValueError where one of so many workers has ended fewer than `least` images in that time."""
        ends = ran.ends(workers)
        rate, (begin, end) = steady_rate(ends, least), common_time(ends)
        # As many intervals as there are ends, but for one of each worker: the first one's work was done before.
        images = sum(begin <= at <= end for times in ends.values() for at in times) - len(ends)
        cpu, supervisor = (ran.history.cpu(begin, end, alone=alone) / images for alone in (False, True))
        return cls(ran, rate, cpu, supervisor)


def steady(run: RunOnce, source: Callable[[int], Path], how: Once, images: int, least: int) -> Steady:
    """So many images or, where a worker has not ended `least` of them while all had work, more. Raises CommandFailed.

    Workers that begin at different times have little time in common.
    """
    problem = ""
    for _ in range(TRIES):
        ran = run(source(images), how)
        try:
            return Steady.of(ran, len(expand(how.devices)), least)
        except ValueError as error:
            problem, images = str(error), images * 2
    raise CommandFailed(f"{how.devices}: {problem}")


def runner(bench: Bench) -> RunOnce:
    """The daemon itself."""
    return lambda source, how: run_once(source, bench.work / "once", how)
