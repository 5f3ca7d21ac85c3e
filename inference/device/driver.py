"""NVIDIA's driver: whether it is new enough for this build of torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from inference.device.nvml import driver_version
from inference.errors import ModelError

MINIMUM_DRIVERS: Mapping[str, str] = MappingProxyType({"11": "450.80.02", "12": "525.60.13", "13": "580.65.06"})
"""The oldest Linux driver for each major version of CUDA, from the release notes of its toolkits (table 3)."""


def initialise_cuda() -> None:
    """Initialise CUDA in this process. Raises ModelError that says what to update."""
    if problem := cuda_problem():
        raise ModelError(problem)


def cuda_problem() -> str:
    """Say why CUDA cannot be initialised in this process, and what to update; empty if it has been initialised.

    Counting devices does not need it, so a driver that is too old counts them, and fails at the first use of one.
    """
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return f"CUDA could not be initialised: {_remedy()} ({' '.join(str(error).split())[:300]})"
    return ""


def _remedy() -> str:
    cuda = torch.version.cuda or "unknown"
    minimum, installed = MINIMUM_DRIVERS.get(cuda.split(".")[0], ""), driver_version()
    if not minimum:
        return f"torch {torch.__version__} is built for CUDA {cuda}; install a build for the driver of this machine."
    return (
        f"torch {torch.__version__} is built for CUDA {cuda}, which needs NVIDIA driver {minimum} or newer; "
        f"installed is {installed or 'an unknown version'}. Update the driver, or use --devices cpu."
    )
