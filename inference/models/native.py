"""CV-UNet, as the engine wants it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.models import band
from inference.models.base import MattingModel
from inference.models.cvunet import CVUNet, channels_last, load_network
from inference.models.entry import ModelEntry
from inference.rgba import words


class CVUNetModel(MattingModel):
    """CV-UNet with weights from a safetensors file of ours."""

    recordable = True

    def __init__(self, entry: ModelEntry) -> None:
        self.entry = entry
        self.side = entry.canvas

    def load(self, device: torch.device) -> None:
        """Raises ModelError."""
        network = load_network(self.entry).eval().requires_grad_(False).fold()
        self.use(network.to(device, fastest_dtype(device)))

    def use(self, network: CVUNet) -> None:
        """A network whose batch norms are folded, on the device and in the type that it is to run in."""
        self.network = channels_last(network)
        self.dtype = network.unet.matte.weight.dtype
        self._head = band.WindowHead(network.edge)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """The matte's logits and the features, at half of the canvas."""
        return self.network.coarse(batch.contiguous(memory_format=torch.channels_last))

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Alpha from the edge head, wherever the matte is undecided."""
        logits, features = coarse
        return band.refine(words(picture), logits, self.network.edge.guide(features), self._head)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """What the device computes convolutions in most quickly: 16 bits, but for CPUs that only emulate them.

    What that changes of the matte is tested in `tests/unit/inference/models/test_native.py`.
    """
    if device.type != "cpu":
        return torch.float16
    native = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if native else torch.float32
