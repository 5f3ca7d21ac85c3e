"""A model without weights, for tests and for measuring everything except a model.

Everything that differs from the mean colour of the picture's corners is the object. Options are part of the model's
name: `fake:delay=0.05,fail_at=3`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.base import MattingModel
from inference.models.fake_options import FakeOptions
from inference.rgba import as_bytes

ROWS = 512
"""Rows of a picture that are computed at a time: bounds the memory."""


class FakeModel(MattingModel):
    """The fake model, see the module's docstring."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        self.options = options or FakeOptions()
        self.side = int(self.options.side)
        self.batches: list[int] = []
        """The size of each batch so far."""

    def load(self, device: torch.device) -> None:
        """Sleep for `load_delay` seconds."""
        time.sleep(self.options.load_delay)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """Compute a matte B x 1 x h x w, and the corners' mean colour B x 3 x 1 x 1."""
        self.batches.append(len(batch))
        if self.options.oom_above and len(batch) > self.options.oom_above:
            raise torch.OutOfMemoryError(f"the fake device has no memory for {len(batch)} pictures")
        if self.options.fail_at and len(self.batches) >= self.options.fail_at:
            raise RuntimeError("the fake device has failed, as it was told to")
        time.sleep(self.options.delay)
        corners = batch[..., [0, 0, -1, -1], [0, -1, 0, -1]].mean(-1)[..., None, None]  # [B, 3, 1, 1]
        return difference(batch, corners), corners

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Compute the same matte at the picture's own size."""
        if self.options.oom_pixels and picture[..., 0].numel() > self.options.oom_pixels:
            raise torch.OutOfMemoryError("the fake device has no memory for so large a picture")
        if self.options.fail_above and picture[..., 0].numel() > self.options.fail_above:
            raise RuntimeError("the fake device fails on so large a picture, as it was told to")
        pieces = torch.split(picture.permute(2, 0, 1)[None, :3], ROWS, dim=2)
        return torch.cat([as_bytes(difference(some / 255, coarse[1])[0, 0]) for some in pieces])


def difference(picture: Tensor, background: Tensor) -> Tensor:
    """Return B x 1 x H x W: 0 where B x 3 x H x W has the background's colour, 1 where it clearly differs."""
    distance = (picture - background).abs().amax(1, keepdim=True)
    return F.hardtanh(distance * 8 - 0.5, 0.0, 1.0)
