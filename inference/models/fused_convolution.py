"""Convolutions that add and activate in the same pass over memory, on a CPU.

Torch's operation for this is the one that `torch.compile` emits: oneDNN's convolution with "post-ops". Called directly
it needs no compiler. It is not part of torch's documented interface, so `fusing_works` tries it first.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Activation = Literal["none", "relu", "relu6"]

_OPERATIONS: dict[Activation, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}


class Weights(NamedTuple):
    """What `torch.ops.mkldnn` wants to know of a convolution; without padding and stride unless said."""

    weight: Tensor
    bias: Tensor | None
    padding: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


def weights_of(conv: nn.Conv2d) -> Weights:
    """Collect what a convolution consists of."""
    padding = conv.padding
    assert not isinstance(padding, str), "ours are numbers"
    (down, across), (vertical, horizontal), (first, second) = padding, conv.stride, conv.dilation
    return Weights(conv.weight, conv.bias, (down, across), (vertical, horizontal), (first, second), conv.groups)


def pointwise(x: Tensor, weights: Weights, activation: Activation = "none", addend: Tensor | None = None) -> Tensor:
    """Compute `activation(conv(x) + addend)` in the type of the weights, without gradients; all in channels-last."""
    name, limits = _OPERATIONS[activation]
    operation = torch.ops.mkldnn._convolution_pointwise
    if addend is None:
        result: Tensor = operation(x, *weights, name, limits, "")
    else:
        unary = None if activation == "none" else name
        result = operation.binary(x, addend, *weights, "add", 1.0, unary, limits, None)
    return result


def fusing_works(dtype: torch.dtype) -> bool:
    """Whether this build of torch has the operation for CPUs, and it computes what it should."""
    x, kernel, addend = (_filled(dtype, *shape) for shape in ((1, 8, 4, 4), (8, 8, 3, 3), (1, 8, 2, 2)))
    weights = Weights(kernel / 4, _filled(dtype, 8))
    cases: tuple[tuple[Activation, Tensor | None], ...] = (("relu6", None), ("relu", -10 * addend), ("none", addend))
    try:
        found = [pointwise(x, weights, *case).flatten()[0].item() for case in cases]
    except (AttributeError, RuntimeError, TypeError):
        return False
    return found == [6, 9, 20]  # of 72 / 4 + 1 = 19


def _filled(dtype: torch.dtype, *shape: int) -> Tensor:
    """Make ones in the order of channels-last, the only one in which additions are fused."""
    ones = torch.ones(shape, dtype=dtype)
    return ones.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else ones
