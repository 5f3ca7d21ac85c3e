"""onnxruntime beside torch on one GPU: the same libraries, and a bounded memory arena."""

from __future__ import annotations

from typing import Any

import torch

from inference.errors import ModelError

ARENA_SHARE = 0.75
"""Of this process's share of a GPU's memory, for the arena of a session: pictures and their edges are torch's."""


def use_libraries_of_torch(ort: Any) -> None:
    """Load the libraries of CUDA and cuDNN that torch brings, before onnxruntime searches the system for others.

    Raises ModelError where onnxruntime is built for another major version of CUDA than torch.
    """
    theirs, ours = str(getattr(ort, "cuda_version", "") or ""), str(torch.version.cuda or "")
    if theirs and ours and theirs.split(".")[0] != ours.split(".")[0]:
        raise ModelError(
            f"onnxruntime-gpu {ort.__version__} is built for CUDA {theirs}, and torch {torch.__version__} for CUDA "
            f"{ours}: install the onnxruntime-gpu that is built for the same CUDA, or choose --devices cpu."
        )
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


def arena_options(device: torch.device) -> dict[str, Any]:
    """Options that bound onnxruntime's arena, which torch does not see: it grows by what is asked for, up to a share.

    By default it would double whenever it grows, and it never shrinks.
    """
    share = torch.cuda.get_per_process_memory_fraction(device)
    _, total = torch.cuda.mem_get_info(device)
    return {"arena_extend_strategy": "kSameAsRequested", "gpu_mem_limit": int(total * share * ARENA_SHARE)}
