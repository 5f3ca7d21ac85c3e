"""A driver that is too old is said so, with the version that is needed."""

from __future__ import annotations

import pytest
import torch

from inference import Engine, EngineOptions
from inference.device import driver
from inference.errors import ModelError

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)
"""What torch 2.13 raises."""


def pretend(monkeypatch: pytest.MonkeyPatch, cuda: str, installed: str) -> None:
    def init() -> None:
        raise RuntimeError(TOO_OLD)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(driver, "driver_version", lambda: installed)


@pytest.mark.parametrize(
    ("cuda", "installed", "said"),
    [
        ("13.0", "535.183.01", ["580.65.06 or newer", "535.183.01", "--devices cpu"]),
        ("12.8", "", ["525.60.13 or newer", "an unknown version"]),
        ("14.1", "580.65.06", ["built for CUDA 14.1", "install a build"]),
    ],
)
def test_a_driver_that_is_too_old_is_a_model_error_that_names_what_is_needed(
    cuda: str, installed: str, said: list[str], monkeypatch: pytest.MonkeyPatch
):
    pretend(monkeypatch, cuda, installed)
    with pytest.raises(ModelError) as error:
        Engine(EngineOptions(device="cuda:0"))
    assert all(part in str(error.value) for part in [*said, "found version 12020"])
