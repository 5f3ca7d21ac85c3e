"""The daemon's throughput in steady state: while all workers have work, without start-up and tail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watcher.commands.bench.daemon.run_once import OnceOptions, OnceRun, run_once
from watcher.commands.bench.process_monitor import CommandFailed
from watcher.fleet.devices import expand_devices

TRIES = 6
"""Attempts, each with twice as many images as the one before."""
RunOnce = Callable[[Path, OnceOptions], OnceRun]
"""Runs the daemon over a folder of images."""


def common_interval(finished: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """The interval in which all devices had work, from the times at which each one finished images.

    It begins when the last device finishes its first image, and ends when the first device finishes its last.
    """
    return max(min(times) for times in finished.values()), min(max(times) for times in finished.values())


def steady_rate(finished: Mapping[str, Sequence[float]], least: int = 3) -> float:
    """Images a second of all devices together in their common interval, from n - 1 intervals between n images.

    Raises ValueError where a device has finished fewer than `least` images in it.
    """
    begin, end = common_interval(finished)
    total = 0.0
    for device, times in finished.items():
        inside = sorted(time for time in times if begin <= time <= end)
        if len(inside) < max(2, least) or inside[-1] <= inside[0]:
            raise ValueError(f"{device} finished {len(inside)} images while all had work; give them more images")
        total += (len(inside) - 1) / (inside[-1] - inside[0])
    return total


@dataclass(frozen=True)
class SteadyState:
    """What a run did while all workers had work."""

    run: OnceRun
    rate: float
    """Images a second."""
    cpu: float
    """CPU seconds per image, of all processes."""
    supervisor: float
    """CPU seconds per image, of the supervisor alone."""

    @classmethod
    def of(cls, run: OnceRun, workers: int, least: int) -> Self:
        """Raises ValueError where one of the workers finished fewer than `least` images in the common interval."""
        finished = run.finished(workers)
        rate, (begin, end) = steady_rate(finished, least), common_interval(finished)
        # The work for a worker's first image in the interval was done before it began, so one per worker is left out.
        images = sum(begin <= at <= end for times in finished.values() for at in times) - len(finished)
        cpu, supervisor = (run.record.cpu(begin, end, alone=alone) / images for alone in (False, True))
        return cls(run, rate, cpu, supervisor)


def measure_steady_state(
    run: RunOnce, source: Callable[[int], Path], options: OnceOptions, images: int, least: int
) -> SteadyState:
    """Run the daemon over `images` images, and over more while a worker finishes fewer than `least` in steady state.

    Workers that start at different times have little time in common. Raises CommandFailed after TRIES attempts.
    """
    problem = ""
    for _ in range(TRIES):
        result = run(source(images), options)
        try:
            return SteadyState.of(result, len(expand_devices(options.devices)), least)
        except ValueError as error:
            problem, images = str(error), images * 2
    raise CommandFailed(f"{options.devices}: {problem}")


def daemon_runner(folder: Path) -> RunOnce:
    """Runs `alphadrop once` with its outputs and state below `folder`."""
    return lambda source, options: run_once(source, folder / "once", options)
