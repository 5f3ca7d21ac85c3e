"""A model's coarse step together with what is measured of its mattes, so that one CUDA graph holds both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from inference.models.base import MattingModel
from inference.review.signals import measure


class CoarseModel(Protocol):
    """Whatever has a coarse step."""

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """Compute tensors with the batch first from B x 3 x h x w."""
        ...


class ReviewedCoarse:
    """The coarse step of a model, with one tensor more behind its results: the measures of the mattes, B x 12."""

    def __init__(self, model: MattingModel, pooled: bool) -> None:
        """`pooled` is for a GPU, see `signals.measure`."""
        self._model, self._pooled = model, pooled

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        """See `MattingModel.coarse`."""
        results = self._model.coarse(batch)
        return [*results, measure(self._model.matte(results), batch, self._pooled)]
