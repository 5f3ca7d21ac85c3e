"""A model without weights, for tests and for measuring everything around a model.

Whatever differs from the colour of the picture's corners is the object. `fake:delay=0.05,fail_at=3` sets its options.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.errors import ModelError
from inference.models.base import MattingModel
from inference.rgba import as_bytes

ROWS = 512
"""Of a picture that are looked at at a time: bounds the memory."""


@dataclass(frozen=True)
class FakeOptions:
    """How the fake misbehaves; by default it does not."""

    side: float = 128
    delay: float = 0.0
    """Seconds per batch, asleep: a device that is busy without using the CPU."""
    load_delay: float = 0.0
    oom_above: float = 0
    """Batches larger than this are out of memory (0: never)."""
    oom_pixels: float = 0
    """Pictures of more pixels than this are out of memory (0: never)."""
    fail_at: float = 0
    """The device fails for good at this batch (0: never)."""


def parse_options(text: str) -> FakeOptions:
    """`delay=0.05,fail_at=3` to options. Raises ModelError for unknown names."""
    known = {f.name for f in fields(FakeOptions)}
    pairs = dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)
    if unknown := set(pairs) - known:
        raise ModelError(f"The fake model has no option {sorted(unknown)[0]!r}; it knows {', '.join(sorted(known))}.")
    return FakeOptions(**{name: float(value) for name, value in pairs.items()})


class FakeModel(MattingModel):
    """See the module's docstring."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        self.options = options or FakeOptions()
        self.side = int(self.options.side)
        self.batches: list[int] = []
        """The size of every batch that was run."""

    def load(self, device: torch.device) -> None:
        """Sleeps for `load_delay`."""
        time.sleep(self.options.load_delay)

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """The matte, and the corners' mean colour for `refine`."""
        self.batches.append(len(batch))
        if self.options.oom_above and len(batch) > self.options.oom_above:
            raise torch.OutOfMemoryError(f"the fake device has no memory for {len(batch)} pictures")
        if self.options.fail_at and len(self.batches) >= self.options.fail_at:
            raise RuntimeError("the fake device has failed, as it was told to")
        time.sleep(self.options.delay)
        corners = batch[..., [0, 0, -1, -1], [0, -1, 0, -1]].mean(-1)[..., None, None]  # [B, 3, 1, 1]
        return difference(batch, corners), corners

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """The same question, asked of every pixel."""
        if self.options.oom_pixels and picture[..., 0].numel() > self.options.oom_pixels:
            raise torch.OutOfMemoryError("the fake device has no memory for so large a picture")
        pieces = torch.split(picture.permute(2, 0, 1)[None, :3], ROWS, dim=2)
        return torch.cat([as_bytes(difference(some / 255, coarse[1])[0, 0]) for some in pieces])


def difference(picture: Tensor, background: Tensor) -> Tensor:
    """0 where the picture has the background's colour, 1 where it is clearly another; B x 1 x H x W."""
    distance = (picture - background).abs().amax(1, keepdim=True)
    return F.hardtanh(distance * 8 - 0.5, 0.0, 1.0)
