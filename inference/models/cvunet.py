"""CV-UNet: a residual U-Net with attention gates for the whole picture, and an edge head for its full resolution.

The two parts need different resolutions:

* `UNet` sees the whole picture on a small canvas (a few hundred pixels) and decides *what* the object is.
* `EdgeHead` sees the picture's own pixels and decides *where* exactly the object ends. It doubles the resolution of a
  matte, and is applied level by level with the same weights. For each pixel it also predicts how alpha depends on
  colour, from which `lift` computes alpha for a picture several times as large.

Sources: attention gates, Oktay et al., "Attention U-Net", 2018; residual blocks, He et al., "Deep Residual Learning",
2016; refinement of a coarse matte at higher resolutions, Lin et al., "Real-Time High-Resolution Background Matting",
2021; alpha as a linear function of colour in a small window, Levin et al., "A Closed-Form Solution to Natural Image
Matting", 2008; such functions fitted at a small size and applied at a larger one, He and Sun, "Fast Guided Filter",
2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from inference.errors import ModelError
from inference.kernels import Kernels
from inference.models.blocks import ConvBN, multiplied
from inference.models.encoder import CHANNELS, ImageNetEncoder
from inference.models.entry import ModelEntry

STRIDE = 32
"""Both sides of the canvas must be multiples of this, because it is halved five times."""


@dataclass(frozen=True)
class CVUNetConfig:
    """Widths and depths of a size. Level 0 has half the canvas's resolution, each further one half of the previous."""

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    """Residual blocks of each level: in the encoder, or in the decoder where the encoder is ImageNet's."""
    heads: int
    detail: int = 16
    imagenet: bool = False
    """The encoder is that of `encoder.py`, whose weights can begin as those learnt on ImageNet."""


SIZES = {
    "nano": CVUNetConfig(channels=CHANNELS, blocks=(1, 1, 2, 2), heads=6, imagenet=True),
    "lite": CVUNetConfig(channels=(32, 64, 128, 256, 384), blocks=(2, 2, 3, 3, 3), heads=6, detail=32),
    "full": CVUNetConfig(channels=(64, 128, 256, 448, 640), blocks=(2, 2, 3, 3, 3), heads=10, detail=32),
}


class Residual(nn.Module):
    """Two 3x3 convolutions beside an identity. Initialised as the identity, so that a trained network can grow."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBN(channels, channels)
        self.second = ConvBN(channels, channels)
        nn.init.zeros_(self.second.norm.weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x, "relu"), "relu", x)
        return y


class GlobalAttention(nn.Module):
    """Multi-head self-attention over the cells of the deepest level, so that each sees the whole picture."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, channels * 3, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape  # [B, C, h, w]
        q, k, v = (
            self.qkv(x).view(b, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        )  # [B, heads, h * w, C / heads] each
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)  # [B, C, h, w]
        return x + self.out(mixed)  # type: ignore[no-any-return]


class AttentionGate(nn.Module):
    """Weights a skip connection by where the coarser level finds it relevant (Oktay et al., 2018)."""

    def __init__(self, skip: int, coarse: int) -> None:
        super().__init__()
        hidden = max(8, skip // 2)
        self.skip = ConvBN(skip, hidden, kernel=1)
        self.coarse = ConvBN(coarse, hidden, kernel=1)
        self.weigh = nn.Conv2d(hidden, 1, 1)

    def forward(self, skip: Tensor, advice: Tensor) -> Tensor:
        """Return the weights, B x 1 x h x w in 0..1; `advice` is what `coarse` finds, enlarged."""
        return torch.sigmoid(self.weigh(self.skip(skip, "relu", advice)))


Join = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Joins a skip connection and what the gate has made of it with what was made of the coarser level."""


class Up(nn.Module):
    """One decoder level: adds the enlarged coarser level to the gated skip connection."""

    def __init__(self, skip: int, coarse: int, blocks: int = 1) -> None:
        super().__init__()
        self.gate = AttentionGate(skip, coarse)
        self.reduce = ConvBN(coarse, skip, kernel=1)
        self.block = nn.Sequential(*(Residual(skip) for _ in range(blocks)))
        self.join: Join | None = None
        """What one compiled kernel computes everything before the blocks with, on a CPU; see `fuse`."""
        self.both: tuple[Tensor, Tensor] | None = None
        """Weights and bias of `gate.coarse` and `reduce`, one below the other; see `multiply`."""

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        if self.join is not None:
            joined = self.join(skip, self.gate.skip(skip), self.gate.coarse(coarse), self.reduce(coarse))
        else:
            advice, reduced = self._enlarged(coarse, skip)
            joined = torch.addcmul(reduced, skip, self.gate(skip, advice)).relu_()
        result: Tensor = self.block(joined)
        return result

    def _enlarged(self, coarse: Tensor, skip: Tensor) -> Sequence[Tensor]:
        """Compute from the coarser level, at the size of the skip connection, the gate's advice and what is added."""
        if self.both is None:
            return enlarge(self.gate.coarse(coarse), skip), enlarge(self.reduce(coarse), skip)
        lengths = [part.conv.out_channels for part in (self.gate.coarse, self.reduce)]
        return torch.split(enlarge(multiplied(coarse, *self.both), skip), lengths, 1)

    def multiply(self) -> None:
        """Compute both from the coarser level in one product of matrices, and enlarge them together."""
        one, other = self.gate.coarse.conv, self.reduce.conv
        assert one.bias is not None and other.bias is not None, "batch norms are folded"
        self.both = torch.cat((one.weight, other.weight)), torch.cat((one.bias, other.bias))

    def fuse(self, kernels: Kernels) -> None:
        """Join the two levels in one pass over memory, on a CPU."""
        weigh = self.gate.weigh
        assert weigh.bias is not None
        weights, bias = weigh.weight.float().flatten().contiguous(), float(weigh.bias)

        def join(skip: Tensor, seen: Tensor, advice: Tensor, reduced: Tensor) -> Tensor:
            return kernels.join(skip, seen, advice, reduced, weights, bias)

        self.join = join


class DenseEncoder(nn.Module):
    """B x 3 x h x w to the features of every level, by residual blocks; the first one at half of the canvas."""

    def __init__(self, config: CVUNetConfig) -> None:
        super().__init__()
        widths = config.channels
        self.stem = ConvBN(12, widths[0])
        self.downs = nn.ModuleList(ConvBN(a, b, stride=2) for a, b in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(Residual(c) for _ in range(n))) for c, n in zip(widths, config.blocks, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [self.levels[0](self.stem(F.pixel_unshuffle(x, 2), "relu"))]  # [B, C0, h/2, w/2]
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            levels.append(level(down(levels[-1], "relu")))
        return levels


class UNet(nn.Module):
    """B x 3 x h x w (h, w multiples of 32) to a matte's logits and features, both at half of the canvas."""

    def __init__(self, config: CVUNetConfig) -> None:
        super().__init__()
        widths = config.channels
        self.encoder = ImageNetEncoder() if config.imagenet else DenseEncoder(config)
        self.attention = GlobalAttention(widths[-1], config.heads)
        blocks = config.blocks if config.imagenet else (1,) * (len(widths) - 1)
        ups = [Up(fine, coarse, n) for (fine, coarse), n in zip(pairwise(widths), blocks, strict=True)]
        self.ups = nn.ModuleList(reversed(ups))
        self.matte = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skips = self.encoder(x)
        y = self.attention(skips.pop())  # [B, C4, h/32, w/32]
        for up in self.ups:
            y = up(skips.pop(), y)
        return self.matte(y), y


class Level(NamedTuple):
    """The edge head's output at one level of the pyramid."""

    picture: Tensor
    """B x 3 x h x w, normalised to about -2..2."""
    logits: Tensor
    """B x 1 x h x w."""
    slopes: Tensor
    """B x 3 x h x w: derivative of alpha with respect to each channel of the normalised picture, around each pixel."""


RIM = 6
"""Radius of the edge head's receptive field in pixels: three 3x3 convolutions over blocks of 2x2 pixels."""


class EdgeHead(nn.Module):
    """Refines a matte's logits at the resolution of a picture, and predicts how alpha depends on colour.

    It works on 2x2 blocks of pixels (pixel-unshuffle), which takes a quarter of the memory traffic for the same
    receptive field. Its convolutions have no padding: inputs extend beyond outputs by RIM on each side.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.guide = nn.Conv2d(features, width, 1)
        self.see = ConvBN(16, width, padded=False)
        self.think = ConvBN(width, width, padded=False)
        self.correct = nn.Conv2d(width, 16, 3)

    def forward(self, picture: Tensor, logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Refine the logits of a normalised picture B x 3 x H x W (even sides).

        Logits are B x 1 x h x w and features B x C x h' x w', of any coarser sizes. Returns logits B x 1 x H x W and
        slopes B x 3 x H x W, see `Level`.
        """
        guide = F.interpolate(self.guide(features), size=[side // 2 for side in picture.shape[-2:]], mode="bilinear")
        return self.refine_enlarged(
            widen(picture, RIM), widen(enlarge(logits, picture), RIM), widen(guide, RIM // 2 - 1)
        )

    def refine_enlarged(self, picture: Tensor, logits: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Refine logits that are already enlarged; all inputs extend by RIM on each side.

        Only the guide, which has half the size and enters after the first convolution, extends by RIM / 2 - 1.
        """
        pixels = torch.cat((picture, logits.to(picture.dtype)), 1)
        y = self.see(F.pixel_unshuffle(pixels, 2), "relu", guide)  # [B, width, h, w]
        found = F.pixel_shuffle(self.correct(self.think(y, "relu")), 2)  # [B, 4, H, W]
        return logits[..., RIM:-RIM, RIM:-RIM] + found[:, :1], found[:, 1:]


class CVUNet(nn.Module):
    """The network in two steps, `coarse` and `refine`. Inputs are pictures in 0..1."""

    def __init__(self, config: CVUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config)
        self.edge = EdgeHead(config.channels[0], config.detail)

    def coarse(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits B x 1 x h/2 x w/2 and features B x C x h/2 x w/2 for canvases B x 3 x h x w in 0..1."""
        return self.unet(normalise(canvas))  # type: ignore[no-any-return]

    def refine(self, picture: Tensor, logits: Tensor, features: Tensor) -> list[Level]:
        """Refine every level of the pyramid, coarsest first; the last one has the picture's size.

        `picture` is B x 3 x H x W in 0..1 of any size: for the head, odd sides are extended by a repeated pixel.
        """
        results = []
        for level in pyramid(normalise(picture), floor=max(logits.shape[-2:])):
            h, w = level.shape[-2:]
            even = F.pad(level, (0, w % 2, 0, h % 2), mode="replicate")
            logits, slopes = (plane[..., :h, :w] for plane in self.edge(even, logits, features))
            results.append(Level(level, logits, slopes))
        return results

    def fold(self) -> CVUNet:
        """Merge every batch norm into its convolution, for inference; changes this network, and returns it."""
        for module in self.modules():
            if isinstance(module, ConvBN):
                module.fold()
        return self

    def multiply(self) -> CVUNet:
        """Compute 1x1 convolutions with folded batch norms as products of matrices: some fifty kernels less on a GPU.

        Changes this network, and returns it.
        """
        for module in self.modules():
            if isinstance(module, ConvBN | Up):
                module.multiply()
        return self

    def fuse(self, kernels: Kernels) -> CVUNet:
        """Let each folded convolution add and activate in one pass, and join levels in one, on a CPU.

        Changes this network, and returns it.
        """
        for module in self.modules():
            if isinstance(module, ConvBN):
                module.fuse()
            elif isinstance(module, Up):
                module.fuse(kernels)
        return self


def channels_last(network: CVUNet) -> CVUNet:
    """Lay the network's weights out for convolutions over channels-last pictures; returns the network."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


CONTRAST = 4.0
"""Scale of normalised pictures."""


def normalise(picture: Tensor) -> Tensor:
    """Map 0..1 to -2..2; one mean and deviation for all channels suffice for a network with batch norm."""
    return (picture - 0.5) * CONTRAST


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Enlarge B x C x h x w (bilinear) to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def widen(x: Tensor, rim: int) -> Tensor:
    """Extend B x C x h x w by `rim` pixels on all sides, with its border repeated."""
    return F.pad(x, (rim, rim, rim, rim), mode="replicate")


def lift(low: Level, picture: Tensor) -> Tensor:
    """Compute alpha B x 1 x H x W, about 0..1, for a larger normalised picture B x 3 x H x W, from a refined level.

    Around a pixel of the level with colour c0, `alpha(c) = sigmoid(logit) + slopes . (c - c0)`. The coefficients
    of this linear function are enlarged, and evaluated at the larger picture's colours.
    """
    offset = low.logits.sigmoid() - (low.slopes * low.picture).sum(1, keepdim=True)
    line = enlarge(torch.cat((offset, low.slopes), 1), picture)  # [B, 4, H, W]
    return line[:, :1] + (line[:, 1:] * picture).sum(1, keepdim=True)


def pyramid(picture: Tensor, floor: int) -> list[Tensor]:
    """Halve B x 3 x H x W until its longer side is at most `floor`. Smallest first; the last is the picture itself."""
    levels = [picture]
    while max(levels[0].shape[-2:]) > floor:
        levels.insert(0, F.avg_pool2d(levels[0], 2, ceil_mode=True, count_include_pad=False))
    return levels


def load_network(entry: ModelEntry) -> CVUNet:
    """Load an entry's network with 32-bit weights on the CPU. Raises ModelError."""
    if entry.size not in SIZES or entry.path is None:
        raise ModelError(f"{entry.path} has the unknown size {entry.size!r}; known sizes are {', '.join(SIZES)}.")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(entry.path).items()}
        with torch.device("meta"):
            network = CVUNet(SIZES[entry.size])
        network.load_state_dict(weights, assign=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{entry.path} does not hold the weights of CV-UNet {entry.size}: {error}") from error
    return network
