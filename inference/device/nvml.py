"""GPU readings from NVIDIA's driver, through NVML. They are of the whole GPU, including other processes' work.

Cut-outs do not depend on them, so nothing here raises: readings that the driver does not give are left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Gpu:
    """One GPU, as the driver knows it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def readings(self) -> dict[str, float]:
        """Return `utilization` (0..1, of the driver's last sample), `power` (watts), `temperature` (Celsius)."""
        nvml, handle = self._nvml, self._handle
        return _available(
            {
                "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                "temperature": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            }
        )

    def memory(self) -> dict[str, int]:
        """Return bytes: `total` and `used` of the GPU, `process` of this process."""
        nvml, handle = self._nvml, self._handle
        return _available(
            {
                "total": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                "used": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
                "process": self._own_memory,
            }
        )

    def _own_memory(self) -> int | None:
        """None in a container in which the driver knows this process by another id."""
        own = os.getpid()
        processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return next((process.usedGpuMemory for process in processes if process.pid == own), None)


def open_gpu(uuid: str) -> Gpu | None:
    """Find a GPU by the UUID that CUDA gives; None without a driver, without `pynvml`, or without such a GPU.

    Neither indices nor names identify it: CUDA numbers only the visible GPUs, and in another order than the driver.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or versions that do not match
        return None
    for kind in ("GPU", "MIG"):  # CUDA omits this prefix
        handle = _try(partial(pynvml.nvmlDeviceGetHandleByUUID, f"{kind}-{uuid}"))
        if handle is not None:
            return Gpu(pynvml, handle)
    return None


def driver_version() -> str:
    """Return the version of the installed driver, such as 580.65.06; empty where it cannot be found out."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # no package, no driver, or versions that do not match
        return ""


def _available(queries: dict[str, Callable[[], T | None]]) -> dict[str, T]:
    answers = {name: _try(query) for name, query in queries.items()}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _try(query: Callable[[], T | None]) -> T | None:
    """GPUs support some queries and not others, and none after they have fallen off the bus."""
    try:
        return query()
    except Exception:
        return None
