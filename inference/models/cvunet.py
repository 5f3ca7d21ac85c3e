"""CV-UNet: a residual U-Net with attention gates, and an edge head that sees the picture itself.

Two parts, because they want different resolutions:

* `UNet` looks at the whole picture on a small canvas (some hundred pixels) and says *what* the object is.
* `EdgeHead` looks at the picture's own pixels and says *where* exactly the object ends. It doubles the matte's
  resolution; the same head, with the same weights, is applied until the picture's own resolution is reached.

Attention gates: Oktay et al., "Attention U-Net", 2018. Residual blocks: He et al., 2016. Refining a coarse matte by a
shared head along a pyramid follows the idea of Lin et al., "Real-Time High-Resolution Background Matting", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from inference.errors import ModelError
from inference.models.base import MattingModel
from inference.models.catalogue import ModelEntry

STRIDE = 32
"""The canvas must be a multiple of this: five halvings."""


@dataclass(frozen=True)
class CVUNetConfig:
    """Widths and depths. Level 0 works at half of the canvas, every further level at half of the one before."""

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    heads: int
    detail: int = 16


SIZES = {
    "nano": CVUNetConfig(channels=(16, 32, 56, 96, 160), blocks=(1, 1, 2, 2, 2), heads=4),
    "lite": CVUNetConfig(channels=(32, 64, 128, 256, 384), blocks=(2, 2, 3, 3, 3), heads=6, detail=32),
    "full": CVUNetConfig(channels=(64, 128, 256, 448, 640), blocks=(2, 2, 3, 3, 3), heads=10, detail=32),
}


class ConvBN(nn.Module):
    """3x3 (or 1x1) convolution and batch norm, which `fold` merges into one convolution for inference."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y

    def fold(self) -> None:
        """Merge the (frozen) batch norm into the convolution: same function, one pass less over memory."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBN(channels, channels)
        self.second = ConvBN(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class GlobalAttention(nn.Module):
    """Self-attention over the deepest level's cells: every part of the picture knows of every other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, channels * 3, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = (
            self.qkv(x).view(b, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        )  # [B, heads, HW, d]
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        return x + self.out(mixed)  # type: ignore[no-any-return]


class AttentionGate(nn.Module):
    """Lets the coarser level choose which parts of the skip connection matter."""

    def __init__(self, skip: int, coarse: int) -> None:
        super().__init__()
        hidden = max(8, skip // 2)
        self.skip = ConvBN(skip, hidden, kernel=1)
        self.coarse = ConvBN(coarse, hidden, kernel=1)
        self.weigh = nn.Conv2d(hidden, 1, 1)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        gate = self.weigh(F.relu(self.skip(skip) + enlarge(self.coarse(coarse), skip)))
        return skip * torch.sigmoid(gate)


class Up(nn.Module):
    """One decoder level: the coarser level, enlarged, joins the gated skip."""

    def __init__(self, skip: int, coarse: int) -> None:
        super().__init__()
        self.gate = AttentionGate(skip, coarse)
        self.reduce = ConvBN(coarse, skip, kernel=1)
        self.block = Residual(skip)

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        joined = self.gate(skip, coarse) + enlarge(self.reduce(coarse), skip)
        result: Tensor = self.block(F.relu(joined))
        return result


class UNet(nn.Module):
    """B x 3 x h x w (h, w multiples of 32) to a matte's logits and features, both at half of the canvas."""

    def __init__(self, config: CVUNetConfig) -> None:
        super().__init__()
        widths, pairs = config.channels, list(zip(config.channels, config.channels[1:], strict=False))
        self.stem = ConvBN(12, widths[0])
        self.downs = nn.ModuleList(ConvBN(a, b, stride=2) for a, b in pairs)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(c) for _ in range(n))) for c, n in zip(widths, config.blocks, strict=True)
        )
        self.attention = GlobalAttention(widths[-1], config.heads)
        self.ups = nn.ModuleList(Up(a, b) for a, b in reversed(pairs))
        self.matte = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.levels[0](F.relu(self.stem(F.pixel_unshuffle(x, 2))))  # [B, C0, h/2, w/2]
        skips = [x]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            skips.append(level(F.relu(down(skips[-1]))))
        y = self.attention(skips.pop())  # [B, C4, h/32, w/32]
        for up in self.ups:
            y = up(skips.pop(), y)
        return self.matte(y), y


class EdgeHead(nn.Module):
    """Corrects a matte's logits at the resolution of the picture beside it.

    Works on 2x2 blocks of pixels (pixel-unshuffle): a quarter of the memory traffic for the same receptive field.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.guide = nn.Conv2d(features, width, 1)
        self.see = ConvBN(16, width)
        self.think = ConvBN(width, width)
        self.correct = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, picture: Tensor, logits: Tensor, features: Tensor) -> Tensor:
        """Picture B x 3 x H x W (even sides), logits and features at any coarser size; returns B x 1 x H x W logits."""
        logits = enlarge(logits, picture)
        y = self.see(F.pixel_unshuffle(torch.cat((picture, logits), 1), 2))  # [B, width, H/2, W/2]
        y = F.relu(y + enlarge(self.guide(features), y))
        return logits + F.pixel_shuffle(self.correct(F.relu(self.think(y))), 2)


class CVUNet(nn.Module):
    """The whole network. Inputs are pictures in 0..1; see `coarse` and `refine` for its two steps."""

    def __init__(self, config: CVUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config)
        self.edge = EdgeHead(config.channels[0], config.detail)

    def coarse(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """B x 3 x h x w in 0..1 to logits B x 1 x h/2 x w/2 and features B x C x h/2 x w/2."""
        return self.unet(normalise(canvas))  # type: ignore[no-any-return]

    def refine(self, picture: Tensor, logits: Tensor, features: Tensor) -> list[Tensor]:
        """The logits at every level of the pyramid, coarsest first; the last one has the picture's size.

        `picture` is B x 3 x H x W in 0..1 of any size: odd sides are extended by a repeated pixel for the head.
        """
        levels = pyramid(picture, floor=2 * max(logits.shape[-2:]))
        results = []
        for level in levels:
            h, w = level.shape[-2:]
            even = F.pad(normalise(level), (0, w % 2, 0, h % 2), mode="replicate")
            logits = self.edge(even, logits, features)[..., :h, :w]
            results.append(logits)
        return results

    def fold(self) -> CVUNet:
        """Merge every batch norm into its convolution (inference only)."""
        for module in self.modules():
            if isinstance(module, ConvBN):
                module.fold()
        return self


def channels_last(network: CVUNet) -> CVUNet:
    """The network with its weights laid out for convolutions over channels-last pictures."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def normalise(picture: Tensor) -> Tensor:
    """0..1 to about -2..2; one mean and deviation for all channels is enough for a network with batch norm."""
    return (picture - 0.5) * 4.0


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def pyramid(picture: Tensor, floor: int) -> list[Tensor]:
    """The picture halved until its longer side is at most `floor`, smallest first; the last is the picture itself."""
    levels = [picture]
    while max(levels[0].shape[-2:]) > floor:
        levels.insert(0, F.avg_pool2d(levels[0], 2, ceil_mode=True, count_include_pad=False))
    return levels


CLEAN = 0.02
"""Alpha this near to 0 or 1 is taken for it: haze of a few per mille is never the object and costs bytes."""


class CVUNetModel(MattingModel):
    """CV-UNet with weights from a safetensors file of ours."""

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.side = entry.canvas

    def load(self, device: torch.device) -> None:
        """32 bits on the CPU, where half precision is slower; 16 on a GPU. Raises ModelError."""
        self.dtype = torch.float32 if device.type == "cpu" else torch.float16
        network = load_network(self.entry).eval().requires_grad_(False).fold()
        self.network: CVUNet = channels_last(network.to(device, self.dtype))

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """The matte's logits and the features, at half of the canvas."""
        return self.network.coarse(batch.contiguous(memory_format=torch.channels_last))

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Alpha H x W from the edge head's last level."""
        picture = picture.contiguous(memory_format=torch.channels_last)
        logits = self.network.refine(picture, coarse[0], coarse[1])[-1]
        return ((logits[0, 0].float().sigmoid() - CLEAN) / (1 - 2 * CLEAN)).clamp_(0, 1)


def load_network(entry: ModelEntry) -> CVUNet:
    """The network with the entry's weights, 32 bits, on the CPU. Raises ModelError."""
    if entry.size not in SIZES or entry.path is None:
        raise ModelError(f"{entry.path} is of the unknown size {entry.size!r}; known are {', '.join(SIZES)}.")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(entry.path).items()}
        with torch.device("meta"):
            network = CVUNet(SIZES[entry.size])
        network.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{entry.path} does not hold the weights of CV-UNet {entry.size}: {error}") from error
    return network
