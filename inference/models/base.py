"""The interface between the engine and a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from inference.canvas import canvas_size, canvases
from inference.models.guided_filter import guided_upsample
from inference.review.calibration import THIRD_PARTY
from inference.rgba import as_bytes


class MattingModel(ABC):
    """A model in two steps: `coarse` for a batch of whole pictures on small canvases, `refine` for one full picture.

    Canvases are floats in 0..1 in the model's own `dtype`, on its device; the model normalises them itself. Only the
    device thread calls the methods, except `canvas`.
    """

    side: int
    """Longer side of the canvas in pixels."""
    dtype: torch.dtype = torch.float32
    capturable = False
    """Whether `coarse` can be a CUDA graph: the same kernels for every batch of a shape, no waiting for the device."""

    slowdowns: tuple[str, ...] = ()
    """Why the model runs slower than it could, a clause each; complete once it is loaded."""
    family = THIRD_PARTY
    """Which constants turn the signals of its mattes into their confidence: see `review.calibration`."""

    @abstractmethod
    def load(self, device: torch.device) -> None:
        """Load the weights onto the device. Raises ModelError."""

    @abstractmethod
    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """Compute what `refine` needs from B x 3 x h x w: tensors with the batch first, the first of them a matte."""

    def matte(self, coarse: Sequence[Tensor]) -> Tensor:
        """Return the coarse matte B x 1 x h x w, float32 in 0..1, from what `coarse` returned, to be reviewed."""
        return coarse[0].float().clamp(0, 1)

    def refine(self, picture: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Compute alpha H x W uint8 for a picture H x W x 4 uint8, from its slice (B = 1) of what `coarse` returned.

        The picture's fourth channel is undefined, and the picture must not be changed. The default, for models that
        see only the canvas, upsamples the matte along the picture's edges with a guided filter.
        """
        return as_bytes(guided_upsample(coarse[0], picture[..., :3]))

    def refine_all(self, pictures: Tensor, coarse: Sequence[Tensor]) -> Tensor:
        """Compute alpha B x H x W uint8 for pictures of one size, B x H x W x 4 uint8, from what `coarse` returned.

        Where the device is a GPU, the engine calls this instead of `refine`. The default calls `refine` for each.
        """
        one_by_one = zip(pictures, *(torch.split(part, 1) for part in coarse), strict=True)
        return torch.stack([self.refine(picture, parts) for picture, *parts in one_by_one])

    def warm_up_shapes(self) -> None:  # noqa: B027, most models have no such shapes
        """Run what `refine_all` runs in few shapes once in each of them; by default, there is nothing of that kind."""

    def canvas(self, width: int, height: int) -> tuple[int, int]:
        """Return the (height, width) to which a picture of this size is scaled for `coarse`. Thread-safe."""
        return canvas_size(width, height, self.side)

    def canvases(self) -> list[tuple[int, int]]:
        """List every canvas that `canvas` can return; where these are too many, those to warm up with."""
        return canvases(self.side)
