"""Reviews the mattes of a batch by what was measured of them on the device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from inference.review.calibration import Calibration
from inference.review.doubts import Review
from inference.review.signals import signals


@dataclass(frozen=True)
class BatchReview:
    """The measures of a batch, on their way from the device."""

    measures: Tensor
    """B x 12 in main memory (`signals.Measures`); complete once the device has done what had been launched before."""
    calibration: Calibration

    @classmethod
    def start(cls, measures: Tensor, calibration: Calibration) -> BatchReview:
        """Launch the copy of B x 12 measures from the device. Does not wait for it."""
        return cls(measures.to("cpu", non_blocking=True), calibration)

    def of(self, index: int) -> Review:
        """Judge one picture of the batch. To be called once the device has finished something launched later."""
        return self.calibration.review(signals(self.measures[index].tolist()))
