"""Which errors mean that memory has run out. Libraries under torch have no exception class for it, only messages."""

from __future__ import annotations

import torch

MESSAGES = (
    "out of memory",  # CUDA's own, also in torch.AcceleratorError
    "allocate memory",  # torch's CPU allocator, onnxruntime's arena
    "bad_alloc",
    "bad allocation",
    "alloc_failed",  # CUDNN_STATUS_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED
    "allocation_failed",  # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
    "unable to find an engine",  # torch tries cuDNN's engines in turn, and names none that lacked memory
)
"""Parts of messages, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, CUDA, cuDNN, cuBLAS or onnxruntime means that memory has run out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, Exception) and any(message in text for message in MESSAGES)
