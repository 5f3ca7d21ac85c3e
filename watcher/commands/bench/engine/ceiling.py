"""What a pipeline could do at best, from what its stages cost alone: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ceiling:
    """The images a second that no pipeline of these stages exceeds, and what sets the limit."""

    rate: float
    bound: str


def ceiling(cpu: Mapping[str, float], cores: float, device: float = 0.0, devices: int = 1) -> Ceiling:
    """The lower of two limits: the CPU seconds of all stages on the cores, and the device's seconds on the devices.

    `cpu` is CPU seconds an image by stage, `device` seconds an image of a device of its own (0: there is none, its
    work is in `cpu`). Stages share the cores, so it is their sum that counts, not the slowest alone.
    """
    limits = [Ceiling(cores / sum(cpu.values()), "cores")]
    if device > 0:
        limits.append(Ceiling(devices / device, "device"))
    return min(limits, key=lambda limit: limit.rate)


def stage_limits(cpu: Mapping[str, float], cores: float) -> dict[str, float]:
    """Images a second by stage, if each had all the cores to itself; infinite for what costs nothing."""
    return {stage: cores / seconds if seconds > 0 else float("inf") for stage, seconds in cpu.items()}


def common_time(ends: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """While all devices had work, from the times at which each one's images ended.

    That is from the first end of the device that began last to the last end of the one that ran dry first.
    """
    return max(min(times) for times in ends.values()), min(max(times) for times in ends.values())


def steady_rate(ends: Mapping[str, Sequence[float]], least: int = 3) -> float:
    """Images a second of all devices together in their common time. For each, n ends in it are n - 1 intervals.

    Raises ValueError where a device has fewer than `least` in it.
    """
    begin, end = common_time(ends)
    total = 0.0
    for device, times in ends.items():
        inside = sorted(time for time in times if begin <= time <= end)
        if len(inside) < max(2, least) or inside[-1] <= inside[0]:
            raise ValueError(f"{device} has ended {len(inside)} images while all had work; give them more images")
        total += (len(inside) - 1) / (inside[-1] - inside[0])
    return total
