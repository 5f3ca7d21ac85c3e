"""Other people's models, as the engine wants them: fed by their contract, whatever runs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.errors import ModelError
from inference.models.base import MattingModel
from inference.models.entry import ModelEntry
from inference.models.thirdparty.contracts import CONTRACTS, Contract, canvas_of, warm_up
from inference.models.thirdparty.runners import Runner

CPU_PIXELS = 1 << 20
"""On a CPU, pixels of canvases that are run at a time: there, larger batches cost memory and save no time."""
SLACK = 0.02
"""So far beyond 0..1 a matte may be by rounding."""


class ContractModel(MattingModel):
    """A model of others, without an eye for detail: its matte is enlarged."""

    def __init__(self, entry: ModelEntry, runner: Runner) -> None:
        self.entry, self._runner = entry, runner
        self._contract = CONTRACTS[entry.contract]
        self.side = entry.canvas

    def load(self, device: torch.device) -> None:
        """Raises ModelError."""
        self._runner.load(device)
        self._on_cpu = device.type == "cpu"
        self._seen = False
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (self._contract.mean, self._contract.std)
        )

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """The matte, B x 1 x h x w in 0..1. Raises ModelError where the model gives something else."""
        pieces = torch.split(batch, self._most(batch))
        matte = torch.cat([self._matte(piece) for piece in pieces])
        if not self._seen:
            self._require_matte(matte)
            self._seen = True
        return (matte,)

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """As the contract and the file want it."""
        return canvas_of(self._contract, self.entry.fixed[1:], self.side, width, height)

    def canvases(self) -> list[tuple[int, int]]:
        """The usual ones and the largest: where proportions are kept, there are too many to try each."""
        return warm_up(self._contract, self.entry.fixed[1:], self.side)

    def _most(self, batch: Tensor) -> int:
        """How many canvases are run at a time."""
        if self.entry.fixed[0]:
            return self.entry.fixed[0]
        return max(1, CPU_PIXELS // batch[0, 0].numel()) if self._on_cpu else len(batch)

    def _matte(self, piece: Tensor) -> Tensor:
        """A piece that is smaller than the file's fixed batch is filled up."""
        missing = max(0, self.entry.fixed[0] - len(piece))
        full = torch.cat((piece, piece[:1].expand(missing, -1, -1, -1))) if missing else piece
        if self._contract.channels_last:
            return self._channels_last(full)
        first = self._runner.run(normalise(full, self._contract, self._mean, self._std))
        matte = as_planes(first, full, str(self.entry.path))[: len(piece)]
        return matte.sigmoid() if self._contract.logits else matte

    def _channels_last(self, picture: Tensor) -> Tensor:
        """One picture, 1 x 3 x h x w, to the alpha of the RGBA that comes of it."""
        rgba = self._runner.run((picture[0] * 255).permute(1, 2, 0).contiguous()).float()
        height, width = picture.shape[-2:]
        if rgba.numel() != height * width * 4:
            raise ModelError(
                f"{self.entry.path} gave {tuple(rgba.shape)} for {height} x {width} x 3, which is no RGBA."
            )
        return rgba.view(1, height, width, 4)[..., 3][:, None] / 255

    def _require_matte(self, matte: Tensor) -> None:
        """Looked at once, at the warm-up: what a model gives does not change its meaning later."""
        low, high = float(matte.min()), float(matte.max())
        if not (low >= -SLACK and high <= 1 + SLACK):  # so that it holds for NaN as well
            raise ModelError(
                f"{self.entry.path} gives values from {low:.3g} to {high:.3g} where the contract {self._contract.name} "
                "means 0 to 1: choose another --model-contract (birefnet, if these are logits)."
            )


def normalise(batch: Tensor, contract: Contract, mean: Tensor, std: Tensor) -> Tensor:
    """B x 3 x h x w in 0..1 as the contract wants it; each picture by itself, whatever else is in the batch."""
    if contract.by_highest:
        batch = batch / batch.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (batch - mean) / std


def as_planes(output: Tensor, batch: Tensor, where: str) -> Tensor:
    """B x 1 x h x w from B x 1 x h x w, B x h x w or, for one picture, h x w. Raises ModelError."""
    count = len(batch)
    planes = output.float().reshape(count, 1, *output.shape[-2:]) if _is_one_plane(output, count) else None
    if planes is None:
        raise ModelError(f"{where} gave {tuple(output.shape)} for a batch of {count}, which is not one matte for each.")
    return planes


def _is_one_plane(output: Tensor, count: int) -> bool:
    return output.ndim >= 2 and output.numel() == count * output.shape[-2] * output.shape[-1]
