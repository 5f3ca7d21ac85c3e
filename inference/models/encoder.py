"""An encoder whose weights can begin as those of EfficientNet-Lite0, learnt on ImageNet.

EfficientNet: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019. The Lite
variants leave out squeeze-and-excitation and swish, so that they compute well on a CPU. Its last block, which serves
the ImageNet classes, and the classifier are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from inference.models.blocks import ConvBN


@dataclass(frozen=True)
class _Stage:
    """A run of inverted bottlenecks; the first one strides and widens."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
)
STEM = 32
EPSILON = 1e-3
"""Of the batch norms, as the published weights were trained with."""
SKIPS = (0, 1, 2, 4, 5)
"""Stages whose results are the U-Net's levels, finest first: the last ones of their resolution."""
CHANNELS = tuple(STAGES[i].width for i in SKIPS)


class Bottleneck(nn.Module):
    """Widen by a 1x1 convolution, filter each channel alone, narrow again; around it an identity where shapes allow."""

    def __init__(self, cin: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = cin * stage.expansion
        self.widen = ConvBN(cin, wide, kernel=1, eps=EPSILON) if stage.expansion > 1 else None
        self.filter = ConvBN(wide, wide, stage.kernel, stride, groups=wide, eps=EPSILON)
        self.narrow = ConvBN(wide, stage.width, kernel=1, eps=EPSILON)
        self.whole = stride == 1 and cin == stage.width

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.widen is None else self.widen(x, "relu6")
        y: Tensor = self.narrow(self.filter(wide, "relu6"), addend=x if self.whole else None)
        return y


class ImageNetEncoder(nn.Module):
    """B x 3 x h x w, -2..2, to five levels of features, at a half to a thirty-second of the canvas."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, STEM, stride=2, eps=EPSILON)
        widths = (STEM, *(stage.width for stage in STAGES))
        self.stages = nn.ModuleList(
            nn.Sequential(*(_bottleneck(cin, stage, block) for block in range(stage.blocks)))
            for cin, stage in zip(widths, STAGES, strict=False)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x, "relu6")
        levels = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in SKIPS:
                levels.append(x)
        return levels


def _bottleneck(cin: int, stage: _Stage, block: int) -> Bottleneck:
    return Bottleneck(stage.width if block else cin, stage, 1 if block else stage.stride)


_STEM_PARTS = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
_BLOCK_PARTS = {
    "_expand_conv": "widen.conv",
    "_bn0": "widen.norm",
    "_depthwise_conv": "filter.conv",
    "_bn1": "filter.norm",
    "_project_conv": "narrow.conv",
    "_bn2": "narrow.norm",
}


def translated(weights: Mapping[str, Tensor], contrast: float) -> dict[str, Tensor]:
    """The ImageNet weights by `ImageNetEncoder`'s names; what it leaves out is dropped.

    The published weights expect pictures in -1..1. Here pictures have `contrast` times the range -0.5..0.5.
    Raises KeyError for names that are not EfficientNet-Lite0's.
    """
    places = [(i, block) for i, stage in enumerate(STAGES) for block in range(stage.blocks)]
    result = {}
    for name, value in weights.items():
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            number, part, kind = int(found[1]), found[2], found[3]
            if number < len(places):
                stage, block = places[number]
                result[f"stages.{stage}.{block}.{_BLOCK_PARTS[part]}.{kind}"] = value
        elif found := re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", name):
            result[f"{_STEM_PARTS[found[1]]}.{found[2]}"] = value
    result["stem.conv.weight"] = result["stem.conv.weight"] * (2 / contrast)
    return result
