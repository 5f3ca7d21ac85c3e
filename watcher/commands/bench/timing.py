"""Repeated measurements of wall time and CPU time, after warm-up runs that do not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from watcher.commands.bench.stats import Spread, spread


@dataclass
class Times:
    """Seconds of each repeat: wall time by the monotonic clock, and CPU time of all threads of this process."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the block as one repeat. CPU time of other threads that run meanwhile is included."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    @property
    def wall_spread(self) -> Spread:
        """Spread of the wall times, in seconds."""
        return spread(self.wall)


def repeat(
    run: Callable[[], object], repeats: int, *, warmups: int = 1, synchronize: Callable[[], object] = lambda: None
) -> Times:
    """Call `run` `warmups` times untimed, then `repeats` times timed; `synchronize` waits for work on a device."""
    for _ in range(warmups):
        run()
    synchronize()
    times = Times()
    for _ in range(repeats):
        with times.measure():
            run()
            synchronize()
    return times
