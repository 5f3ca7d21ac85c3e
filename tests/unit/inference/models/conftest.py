"""What several tests of the network look at."""

from __future__ import annotations

import pytest
import torch

from inference.models.native import CVUNetModel
from inference.models.registry import resolve


@pytest.fixture(scope="module")
def model() -> CVUNetModel:
    """nano on the CPU in 32 bits, so that differences are not due to rounding."""
    made = CVUNetModel(resolve("nano"))
    made.load(torch.device("cpu"))
    made.use(made.network.float())
    return made
