"""onnxruntime beside torch on one GPU: a bounded arena, and the same libraries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from inference.errors import ModelError
from inference.models.thirdparty.onnx_on_cuda import ARENA_SHARE
from inference.models.thirdparty.onnx_runner import _cuda_providers

CUDA = torch.device("cuda", 1)
STREAM: Any = SimpleNamespace(cuda_stream=77)


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50, 900))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1 / 3)


def onnxruntime(cuda: str, preloaded: list[str]) -> Any:
    """What of onnxruntime-gpu is looked at."""
    return SimpleNamespace(
        __version__="1.23.0",
        cuda_version=cuda,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: preloaded.append("CUDA"),
    )


def test_its_arena_grows_by_what_is_needed_up_to_a_part_of_this_workers_share():
    preloaded: list[str] = []
    (name, options), fallback = _cuda_providers(onnxruntime("13.0", preloaded), CUDA, STREAM)
    assert (name, fallback) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {
        "device_id": 1,
        "user_compute_stream": "77",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": int(300 * ARENA_SHARE),
    }
    assert preloaded == ["CUDA"], "the libraries that torch brought"


def test_a_build_for_another_cuda_is_refused_before_libraries_mix():
    preloaded: list[str] = []
    with pytest.raises(ModelError, match=r"CUDA 12\.8, and torch .* for CUDA 13\.0: install"):
        _cuda_providers(onnxruntime("12.8", preloaded), CUDA, STREAM)
    assert preloaded == []


def test_a_build_that_does_not_say_its_cuda_is_tried():
    assert _cuda_providers(onnxruntime("", []), CUDA, STREAM)[0][0] == "CUDAExecutionProvider"
