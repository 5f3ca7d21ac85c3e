"""The throughput ceiling of a pipeline, computed from what its stages cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ceiling:
    """Images a second that no pipeline of these stages can exceed, and the resource that limits it."""

    rate: float
    bound: str


def throughput_ceiling(cpu: Mapping[str, float], cores: float, device: float = 0.0, devices: int = 1) -> Ceiling:
    """The lower of two limits: the stages' CPU seconds on the cores, and the device's seconds on the devices.

    `cpu` has CPU seconds per image by stage. `device` is seconds per image on a device of its own, or 0 where the CPU
    is the device. Stages share the cores, so their sum counts and not the slowest one.
    """
    limits = [Ceiling(cores / sum(cpu.values()), "cores")]
    if device > 0:
        limits.append(Ceiling(devices / device, "device"))
    return min(limits, key=lambda limit: limit.rate)


def stage_limits(cpu: Mapping[str, float], cores: float) -> dict[str, float]:
    """Images a second by stage if each had all cores to itself; infinite for a stage without cost."""
    return {stage: cores / seconds if seconds > 0 else float("inf") for stage, seconds in cpu.items()}
