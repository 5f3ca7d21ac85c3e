"""Time honestly: warm up, repeat, and keep wall time and CPU time apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from watcher.commands.bench.stats import Spread, spread


@dataclass
class Times:
    """Seconds by the monotonic clock, and seconds of CPU time of all threads of this process, one of each a repeat."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Measure what is done inside. Nothing else may run in this process meanwhile."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    @property
    def wall_spread(self) -> Spread:
        """Of the wall time, in seconds."""
        return spread(self.wall)


def repeat(
    run: Callable[[], object], repeats: int, *, warmups: int = 1, done: Callable[[], object] = lambda: None
) -> Times:
    """Run it so often, after so many times that do not count; `done` waits for what a device still does."""
    for _ in range(warmups):
        run()
    done()
    times = Times()
    for _ in range(repeats):
        with times.one():
            run()
            done()
    return times
