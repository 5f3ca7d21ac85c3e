"""Operations and bytes of each step, and the rates at which the device multiplies matrices and copies: a roofline.

The model is that of Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009.
Bytes are counted as if every operation of torch read its inputs from memory and wrote its result there; caches and
fusion may need less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from watcher.commands.bench.engine.step_hooks import synchronize
from watcher.commands.bench.timing import repeat

SIDES = {"cpu": 1536, "cuda": 8192}
"""Side of the square matrices that are multiplied."""
COPIED = {"cpu": 256 << 20, "cuda": 2 << 30}
"""Bytes that are copied, far more than caches hold."""


class ByteCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operations of torch read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self.bytes += sum(map(_size, tree_leaves((args, kwargs, result))))
        return result


class OperationCounts:
    """A hook for `wrap_steps` that counts operations and bytes by step, summed over all calls."""

    def __init__(self) -> None:
        self.flops: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        with FlopCounterMode(display=False) as flops, ByteCounter() as moved:
            yield
        self.flops[step] += flops.get_total_flops()
        self.bytes[step] += moved.bytes


def _is_view(func: Any) -> bool:
    """Whether the operation returns a view and moves no bytes."""
    return any(value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns)


def _size(value: object) -> int:
    """Bytes in memory; a view whose parts overlap has more elements than its storage."""
    if not isinstance(value, Tensor):
        return 0
    return min(value.numel() * value.element_size(), value.untyped_storage().nbytes())


def matmul_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Operations a second of a large square matrix product, median of the repeats."""
    side = SIDES[device.type]
    a, b = (torch.rand((side, side), device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(a)
    times = repeat(lambda: torch.mm(a, b, out=result), repeats, synchronize=lambda: synchronize(device))
    return float(2 * side**3 / times.wall_spread.median)


def copy_rate(device: torch.device, repeats: int) -> float:
    """Bytes a second, read plus written, of a large copy, median of the repeats."""
    origin = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    copy = torch.empty_like(origin)
    times = repeat(lambda: copy.copy_(origin), repeats, synchronize=lambda: synchronize(device))
    return 2 * origin.numel() / times.wall_spread.median
