"""The contract between the engine and a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from inference.canvas import canvas_size, canvases
from inference.foreground import resize


class MattingModel(ABC):
    """Two steps: `coarse` looks at a batch of whole pictures on small canvases, `refine` at one picture in full.

    Pictures are floats in 0..1 in the model's own `dtype`, on its device; normalisation is the model's own business.
    A model lives in one thread: the device thread.
    """

    side: int
    """The canvas's longer side in pixels."""
    dtype: torch.dtype = torch.float32

    @abstractmethod
    def load(self, device: torch.device) -> None:
        """Read the weights onto the device and make ready. Raises ModelError."""

    @abstractmethod
    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """B x 3 x h x w to whatever `refine` wants; every tensor has the batch first, the first one is a matte."""

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Alpha H x W in 0..1 for the picture 1 x 3 x H x W, from its own slice (B = 1) of `coarse`'s result.

        By default the matte is only enlarged, for models that have no eye for detail.
        """
        height, width = picture.shape[-2:]
        return resize(coarse[0], (height, width))[0, 0].clamp(0, 1)

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """The (height, width) that a picture of this size is brought to for `coarse`."""
        return canvas_size(width, height, self.side)

    def canvases(self) -> list[tuple[int, int]]:
        """Every canvas that `canvas` can return."""
        return canvases(self.side)
