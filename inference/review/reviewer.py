"""Reviews the mattes of a batch by the signals that were measured on the device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from inference.review.calibration import Calibration
from inference.review.doubts import Review


@dataclass(frozen=True)
class BatchReview:
    """The signals of a batch, on their way from the device."""

    signals: Tensor
    """B x 9 in main memory; complete once the device has done what had been launched before."""
    calibration: Calibration

    @classmethod
    def start(cls, signals: Tensor, calibration: Calibration) -> BatchReview:
        """Launch the copy of B x 9 signals from the device. Does not wait for it."""
        return cls(signals.to("cpu", non_blocking=True), calibration)

    def of(self, index: int) -> Review:
        """Judge one picture of the batch. To be called once the device has finished something launched later."""
        return self.calibration.review(self.signals[index].tolist())
