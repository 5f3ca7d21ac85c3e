"""The contract between the engine and a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from inference.canvas import canvas_size, canvases
from inference.models.guided_filter import enlarge


def as_bytes(alpha: Tensor) -> Tensor:
    """0..1 as uint8; what is beyond is cut."""
    return (alpha.float() * 255).round_().clamp_(0, 255).to(torch.uint8)


class MattingModel(ABC):
    """Two steps: `coarse` looks at a batch of whole pictures on small canvases, `refine` at one picture in full.

    Canvases are floats in 0..1 in the model's own `dtype`, on its device; normalisation is the model's own business.
    A model lives in one thread: the device thread.
    """

    side: int
    """The canvas's longer side in pixels."""
    dtype: torch.dtype = torch.float32
    recordable = False
    """Whether `coarse` does the same work for every batch of a shape, all of it on the device."""

    @abstractmethod
    def load(self, device: torch.device) -> None:
        """Read the weights onto the device and make ready. Raises ModelError."""

    @abstractmethod
    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """B x 3 x h x w to whatever `refine` wants; every tensor has the batch first, the first one is a matte."""

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Alpha H x W uint8 for the picture H x W x 4 uint8, from its own slice (B = 1) of `coarse`'s result.

        The picture's last channel is open, and refine leaves the picture as it is.
        By default the matte is enlarged along the picture's edges, for models that have no eye for detail.
        """
        return as_bytes(enlarge(coarse[0], picture[..., :3]))

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """The (height, width) that a picture of this size is brought to for `coarse`."""
        return canvas_size(width, height, self.side)

    def canvases(self) -> list[tuple[int, int]]:
        """Every canvas that `canvas` can return, or those to warm up with where there are too many."""
        return canvases(self.side)
