"""What the network's parts are built of."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

from inference.models.fused_convolution import Activation, Weights, pointwise, weights_of

ACTIVATIONS: MappingProxyType[Activation, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6}
)


class ConvBN(nn.Module):
    """Convolution (3x3 unless `kernel` says otherwise) and batch norm, which `fold` merges into one for inference.

    `padded` keeps the size, `groups` as many as channels filters each channel alone, `eps` is the batch norm's.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int = 3,
        stride: int = 1,
        padded: bool = True,
        groups: int = 1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padded else 0
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(cout, eps)
        self.fused: Weights | None = None
        """What one call of oneDNN computes everything with, on a CPU; see `fuse`."""
        self.multiplies = False
        """Whether the convolution is computed as a product of matrices; see `multiply`."""

    def forward(self, x: Tensor, activation: Activation = "none", addend: Tensor | None = None) -> Tensor:
        """Compute `activation(norm(conv(x)) + addend)`."""
        if self.fused is not None:
            return pointwise(x, self.fused, activation, addend)
        y: Tensor = multiplied(x, self.conv.weight, self.conv.bias) if self.multiplies else self.norm(self.conv(x))
        return ACTIVATIONS[activation](y if addend is None else y + addend)

    def fold(self) -> None:
        """Merge the (frozen) batch norm into the convolution: same function, one pass less over memory."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()

    def fuse(self) -> None:
        """Compute convolution, addition and activation in one pass, on a CPU; the batch norm must be folded."""
        self.fused = weights_of(self.conv)

    def multiply(self) -> None:
        """Compute a 1x1 convolution as a product of matrices, see `multiplied`; the batch norm must be folded."""
        self.multiplies = self.conv.kernel_size == (1, 1)


def multiplied(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute a 1x1 convolution of B x C x h x w, channels-last, as a product of matrices; weights are D x C x 1 x 1.

    On a GPU the bias is added within that kernel; after a convolution it is another one.
    """
    return F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
