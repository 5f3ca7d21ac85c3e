"""Counts, on any machine, the kernel launches of each step on a GPU, and how often the host would wait for it.

Each operation of torch that is not a view is a launch, and some are several (`LAUNCHES`). An operation whose result's
shape depends on the data, and a copy to main memory, make the host wait until the card has finished everything before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from inference.compiled import without_kernels
from inference.device.hardware import Hardware
from inference.engine import Engine, EngineOptions
from inference.models.base import MattingModel
from inference.picture import Cutout, Picture
from watcher.commands.bench.engine.step_hooks import fine_steps, wrap_functions

MAX_WAIT = 30.0
"""Seconds that a batch waits for announced pictures, which always come here."""

LAUNCHES: Mapping[str, int] = MappingProxyType(
    {
        "constant_pad_nd": 2,  # fill, copy
        "nonzero": 6,  # two reductions, a copy of the count, two selections, flat indices to coordinates
        "stack": 1,
        "_scaled_dot_product_flash_attention_for_cpu": 1,  # one fused kernel on a card, too
        "repeat_interleave": 4,
        "sort": 4,
        "median": 4,
        "argsort": 4,
        "unique": 6,
    }
)
"""Operations that launch another number of kernels than one, as torch 2.13 implements them for CUDA."""
NO_LAUNCH = frozenset(
    (
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "set_"),
        *("detach", "lift_fresh", "alias", "_unsafe_view", "_reshape_alias", "is_same_size", "sym_size", "prim_device"),
    )
)
"""Operations that only allocate memory, or make another view of it."""
WAITING = frozenset(("nonzero", "_local_scalar_dense", "masked_select", "equal", "unique", "_unique2"))
"""Operations for whose result the host waits."""
WAITING_METHODS = frozenset(("cpu", "numpy", "tolist"))
"""Methods of a tensor that wait on a card, and that are not operations where the tensor is in main memory already."""


class StandIn(Hardware):
    """The CPU in the place of a GPU: work is done as there, in batches of few shapes, a whole batch at a time."""

    whole_batches = True

    def slots_for(self, count: int) -> int:
        """Return the next power of two."""
        return 1 << (count - 1).bit_length()


class LaunchCounts:
    """A hook for `wrap_functions` that counts launches and waits; a step within another one counts for itself only.

    It counts in the thread that runs the step, since torch keeps what watches its operations for each thread.
    """

    def __init__(self) -> None:
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.operations: Counter[tuple[str, str]] = Counter()
        """Launches by step and operation, to find what is worth saving."""
        self._step = ""

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        outer, self._step = self._step, step
        try:
            with ExitStack() as stack:
                if not outer:
                    stack.enter_context(_Methods(self))
                    stack.enter_context(_Operations(self))
                yield
        finally:
            self._step = outer

    def record(self, func: Any, args: Sequence[Any]) -> None:
        """Count an operation of torch."""
        name = func._schema.name.split("::")[1]
        launches = 0 if name in NO_LAUNCH or is_view(func) else launches_of(name, args)
        self.launches[self._step] += launches
        self.operations[self._step, name] += launches
        if name in WAITING or (name.startswith("index") and _has_mask(args)):
            self.waits[self._step] += 1

    def record_method(self, func: Callable[..., Any], args: Sequence[Any], result: object) -> None:
        """Count a call of a tensor's method, if it waits, or if it would launch something where floats have 16 bits."""
        name = getattr(func, "__name__", "")
        if name in WAITING_METHODS:
            self.waits[self._step] += 1
        if name == "float" and args and result is args[0]:
            self.launches[self._step] += 1
            self.operations[self._step, "float"] += 1


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, counts: LaunchCounts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In inference mode, operations arrive here before torch has taken them apart.
        if "upsample" not in func.name() and _is_composite(func):
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        self._counts.record(func, args)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, counts: LaunchCounts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._counts.record_method(func, args, result)
        return result


def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def is_view(func: Any) -> bool:
    """Whether an operation returns a view and moves no bytes."""
    return any(value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns)


def launches_of(name: str, args: Sequence[Any]) -> int:
    """Count the kernels of an operation that is no view."""
    if name == "convolution":
        return 1 if args[2] is None else 2  # cuDNN's convolution, then the bias
    if name == "addmm":  # cuBLAS adds a bias itself, but not to a single column, nor a matrix: that is copied first
        return 1 if args[0].dim() == 1 and args[2].shape[1] > 1 else 2
    return LAUNCHES.get(name, 1)


def _has_mask(args: Sequence[Any]) -> bool:
    """Whether an operation indexes with a mask, whose number of places is unknown."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def count_launches(model: MattingModel, hardware: Hardware, pictures: Sequence[Picture]) -> LaunchCounts:
    """Count what one batch of these pictures launches by step, after a first one that has computed what is kept.

    `model` is not loaded yet. Its coarse step runs without CUDA graphs, of which one replay is one launch, and nothing
    runs in the kernels that are compiled for CPUs: a card has torch's operations.
    """
    counts = LaunchCounts()
    options = EngineOptions(batch=len(pictures), max_wait=MAX_WAIT, cuda_graphs=False, threads=torch.get_num_threads())
    with without_kernels(), Engine(options, model=model, hardware=hardware) as engine:
        run_batch(engine, pictures)
        with wrap_functions(fine_steps(model), counts):
            run_batch(engine, pictures)
    return counts


def run_batch(engine: Engine, pictures: Sequence[Picture]) -> list[Cutout]:
    """Cut the pictures out in one batch."""
    with ExitStack() as stack:
        submits = [stack.enter_context(engine.announce()) for _ in pictures]
        futures = [submit(picture) for submit, picture in zip(submits, pictures, strict=True)]
    return [future.result() for future in futures]
