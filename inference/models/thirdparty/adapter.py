"""A third-party model as the engine runs it: preprocessed by its contract, on any runtime."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.errors import ModelError
from inference.models.base import MattingModel
from inference.models.entry import ModelEntry
from inference.models.thirdparty.contracts import CONTRACTS, Contract, canvas_for, warmup_canvases
from inference.models.thirdparty.runners import Runner

CPU_PIXELS = 1 << 20
"""Canvas pixels that are run at a time on a CPU, where larger batches cost memory and save no time."""
TOLERANCE = 0.02
"""A matte may exceed 0..1 by this much through rounding."""


class ThirdPartyModel(MattingModel):
    """A model that sees only the canvas: its matte is upsampled with a guided filter (`MattingModel.refine`)."""

    def __init__(self, entry: ModelEntry, runner: Runner) -> None:
        self.entry, self._runner = entry, runner
        self._contract = CONTRACTS[entry.contract]
        self.side = entry.canvas

    def load(self, device: torch.device) -> None:
        """Load the file onto the device. Raises ModelError."""
        self._runner.load(device)
        self._on_cpu = device.type == "cpu"
        self._checked = False
        self._fixed_batch = 0 if self._runner.opens_batch else self.entry.fixed[0]
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (self._contract.mean, self._contract.std)
        )

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """Compute mattes B x 1 x h x w in 0..1. Raises ModelError where the model returns something else."""
        pieces = torch.split(batch, self._batch_size(batch))
        matte = torch.cat(self._mattes(pieces))
        if not self._checked:
            self._require_range(matte)
            self._checked = True
        return (matte,)

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """Return the (height, width) that the contract and the file demand."""
        return canvas_for(self._contract, self.entry.fixed[1:], self.side, width, height)

    def canvases(self) -> list[tuple[int, int]]:
        """List the canvases to warm up with: see `contracts.warmup_canvases`."""
        return warmup_canvases(self._contract, self.entry.fixed[1:], self.side)

    def _batch_size(self, batch: Tensor) -> int:
        """Return how many canvases are run at a time."""
        if self._fixed_batch:
            return self._fixed_batch
        return max(1, CPU_PIXELS // batch[0, 0].numel()) if self._on_cpu else len(batch)

    def _mattes(self, pieces: Sequence[Tensor]) -> list[Tensor]:
        """Run each B x 3 x h x w: its matte, B x 1 x h x w."""
        if self._contract.channels_last:
            return [self._run_channels_last(piece) for piece in pieces]
        feeds = [normalise(self._padded(piece), self._contract, self._mean, self._std) for piece in pieces]
        outputs = self._runner.run(feeds)
        mattes = [
            as_mattes(output, len(feed), str(self.entry.path))[: len(piece)]
            for output, feed, piece in zip(outputs, feeds, pieces, strict=True)
        ]
        return [matte.sigmoid() for matte in mattes] if self._contract.logits else mattes

    def _padded(self, piece: Tensor) -> Tensor:
        """Repeat the first picture until a piece has the file's fixed batch size, if it has one."""
        missing = max(0, self._fixed_batch - len(piece))
        return torch.cat((piece, piece[:1].expand(missing, -1, -1, -1))) if missing else piece

    def _run_channels_last(self, picture: Tensor) -> Tensor:
        """Run one picture, 1 x 3 x h x w, through a model that returns RGBA: its alpha, 1 x 1 x h x w."""
        [output] = self._runner.run([(picture[0] * 255).permute(1, 2, 0).contiguous()])
        rgba = output.float()
        height, width = picture.shape[-2:]
        if rgba.numel() != height * width * 4:
            raise ModelError(
                f"{self.entry.path} returned {tuple(rgba.shape)} for {height} x {width} x 3, which is not RGBA."
            )
        return rgba.view(1, height, width, 4)[..., 3][:, None] / 255

    def _require_range(self, matte: Tensor) -> None:
        """Raise ModelError for values that are no matte. Checked once, in the warm-up: an output's meaning is fixed."""
        low, high = float(matte.min()), float(matte.max())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # negated, so that NaN is rejected as well
            raise ModelError(
                f"{self.entry.path} returned values from {low:.3g} to {high:.3g}, but the contract "
                f"{self._contract.name} expects 0 to 1: choose another --model-contract (birefnet, if they are logits)."
            )


def normalise(batch: Tensor, contract: Contract, mean: Tensor, std: Tensor) -> Tensor:
    """Normalise B x 3 x h x w in 0..1 by the contract, each picture independently of the rest of its batch."""
    if contract.divide_by_maximum:
        batch = batch / batch.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (batch - mean) / std


def as_mattes(output: Tensor, count: int, where: str) -> Tensor:
    """Reshape an output for `count` pictures to count x 1 x h x w. Raises ModelError naming the file `where`."""
    if output.ndim < 2 or output.numel() != count * output.shape[-2] * output.shape[-1]:
        raise ModelError(f"{where} returned {tuple(output.shape)} for a batch of {count}, not one matte for each.")
    return output.float().reshape(count, 1, *output.shape[-2:])
