"""CV-UNet as a `MattingModel`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.kernels import Kernels, kernels_for
from inference.models import band, batched_band, fused_band
from inference.models.base import MattingModel
from inference.models.cvunet import CVUNet, channels_last, load_network
from inference.models.entry import ModelEntry
from inference.models.fused_convolution import fusing_works
from inference.models.islands import drop_unsure_islands
from inference.models.plain_background import decide_by_background
from inference.review.calibration import CVUNET
from inference.rgba import words

CANNOT_FUSE = "this build of torch cannot add and activate within a convolution, so the network takes a fifth longer"


class CVUNetModel(MattingModel):
    """CV-UNet with the weights of a safetensors file that alphadrop's training wrote."""

    capturable = True
    family = CVUNET

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.side = entry.canvas

    def load(self, device: torch.device) -> None:
        """Load the weights onto the device, in the type that it computes fastest. Raises ModelError."""
        network = load_network(self.entry).eval().requires_grad_(False).fold()
        self.use(network.to(device, fastest_dtype(device)), kernels_for(device))

    def use(self, network: CVUNet, kernels: Kernels | None = None) -> None:
        """Run this network, which is on its device, in its type, and has folded batch norms.

        Without kernels everything is done in plain torch, one operation after the other.
        """
        self.network = channels_last(network)
        self._kernels = kernels
        self.dtype = network.unet.matte.weight.dtype
        fusing = kernels is not None and fusing_works(self.dtype)
        self.slowdowns = (CANNOT_FUSE,) if kernels is not None and not fusing else ()
        if kernels is None:
            network.multiply()
        elif fusing:
            network.fuse(kernels)
        self._head = fused_band.FusedHead(network.edge, kernels, fusing) if kernels else band.WindowHead(network.edge)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """Compute the matte's logits B x 1 x h/2 x w/2 and features B x C x h/2 x w/2.

        Of the logits, broad undecided areas on a plain background are decided by their colour, and then islands of
        which the network is still unsure are dropped.
        """
        logits, features = self.network.coarse(batch.contiguous(memory_format=torch.channels_last))
        logits = decide_by_background(logits, batch, one_by_one=self._kernels is not None)
        return drop_unsure_islands(logits, self._kernels), features

    def matte(self, coarse: Sequence[Tensor]) -> Tensor:
        """Return the coarse matte B x 1 x h x w from its logits."""
        return coarse[0].float().sigmoid()

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Compute alpha H x W uint8 with the edge head wherever the matte is undecided; see `band`."""
        logits, features = coarse
        guide = self.network.edge.guide(features)
        if isinstance(self._head, fused_band.FusedHead):
            return fused_band.refine(words(picture), logits, guide, self._head)
        return band.refine(words(picture), logits, guide, self._head)

    def refine_all(self, pictures: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Compute alpha B x H x W uint8 for a whole batch with few operations; see `batched_band`."""
        logits, features = coarse
        return batched_band.refine(words(pictures), logits, self.network.edge.guide(features), self._head)

    def warm_up_shapes(self) -> None:
        """Run the edge head once for each number of windows: choosing kernels for a shape takes milliseconds."""
        batched_band.warm_up(self._head, self.network.config.detail, self.dtype, self.network.unet.matte.weight.device)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which the device computes convolutions fastest: 16 bits, unless the CPU only emulates them.

    `tests/unit/inference/models/test_native.py` tests how little that changes a matte.
    """
    if device.type != "cpu":
        return torch.float16
    native = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if native else torch.float32
