"""Lack of memory is recognised, in whatever words it is reported."""

from __future__ import annotations

import pytest
import torch

from inference.models.memory_errors import is_out_of_memory

LACK = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    torch.AcceleratorError("CUDA error: out of memory", 2),
    RuntimeError("std::bad_alloc"),
]
OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: unspecified launch failure", 719),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ValueError("shapes differ"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", LACK, ids=str)
def test_lack_of_memory_is_recognised(error: BaseException):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_failures_are_not_taken_for_it(error: BaseException):
    assert not is_out_of_memory(error)
