"""The state of a device at one moment. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeviceStats:
    """A snapshot of a device's state."""

    memory: dict[str, int] = field(default_factory=dict)
    """Bytes by kind, see `hardware.device_memory`; empty for a CPU."""
    batch_limit: int = 0
    """Pictures in the largest batch at present."""
    out_of_memory: int = 0
    """How often memory ran out since the start."""
    busy_seconds: float = 0.0
    """Seconds spent in batches since the start."""
    busy_since: float | None = None
    """When the batch that is running now was started (`time.monotonic`); None when idle."""
    running: int = 0
    """Pictures that are on the device and not finished."""
    gpu: dict[str, float] = field(default_factory=dict)
    """Readings of the driver, see `nvml.Gpu.readings`."""
