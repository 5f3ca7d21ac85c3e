"""What NVIDIA's driver says of a card, through NVML: of the whole card, others' work too.

Nothing of this is needed to cut out pictures, so nothing here raises: what the driver does not tell is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Gpu:
    """One card, as the driver knows it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def readings(self) -> dict[str, float]:
        """`utilization` (0..1, over the driver's last sample), `power` (watts), `temperature` (degrees Celsius)."""
        nvml, handle = self._nvml, self._handle
        return _known(
            {
                "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
                "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
                "temperature": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            }
        )

    def memory(self) -> dict[str, int]:
        """Bytes: `total` and `used` of the card, `process` for this process."""
        nvml, handle = self._nvml, self._handle
        return _known(
            {
                "total": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                "used": lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
                "process": self._own_memory,
            }
        )

    def _own_memory(self) -> int | None:
        """In a container the driver may know this process by another number; then nothing is said of it."""
        own = os.getpid()
        found = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return next((process.usedGpuMemory for process in found if process.pid == own), None)


def open_gpu(uuid: str) -> Gpu | None:
    """The card that CUDA knows by this UUID; None where there is no driver, no `pynvml`, or no such card.

    Neither indexes nor names will do: CUDA counts only the visible cards, and in another order than the driver.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or one that does not fit
        return None
    for kind in ("GPU", "MIG"):  # CUDA leaves out which of them it is
        handle = _ask(partial(pynvml.nvmlDeviceGetHandleByUUID, f"{kind}-{uuid}"))
        if handle is not None:
            return Gpu(pynvml, handle)
    return None


def _known(questions: dict[str, Callable[[], T | None]]) -> dict[str, T]:
    answers = {name: _ask(question) for name, question in questions.items()}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _ask(question: Callable[[], T | None]) -> T | None:
    """A card answers some questions and not others, and none when it has fallen off the bus."""
    try:
        return question()
    except Exception:
        return None
