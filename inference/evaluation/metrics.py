"""How far a matte is from the true one. Every function takes two H x W float arrays in 0..1: the matte and the truth.

Grad and Conn follow Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009. SAD, Grad
and Conn are sums over the picture in thousands, as papers give them, over the whole picture (no trimap here).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]

SIGMA = 1.4
STEP = 0.1
TOLERANCE = 0.15


@dataclass(frozen=True)
class Scores:
    """All six figures; all but IoU are errors, so lower is better."""

    sad: float
    mse: float
    mad: float
    grad: float
    conn: float
    iou: float

    @staticmethod
    def names() -> list[str]:
        """The figures' names, in order."""
        return [field.name for field in fields(Scores)]


def score(matte: Alpha, truth: Alpha) -> Scores:
    """Every figure for one picture."""
    error = np.abs(matte - truth)
    return Scores(
        sad=float(error.sum()) / 1000,
        mse=float((error**2).mean()),
        mad=float(error.mean()),
        grad=gradient_error(matte, truth),
        conn=connectivity_error(matte, truth),
        iou=intersection_over_union(matte, truth),
    )


def mean(scores: list[Scores]) -> Scores:
    """The mean of every figure."""
    return Scores(**{name: float(np.mean([getattr(s, name) for s in scores])) for name in Scores.names()})


def intersection_over_union(matte: Alpha, truth: Alpha) -> float:
    """Of the pixels that are more object than not; 1 where both pictures have none."""
    ours, theirs = matte >= 0.5, truth >= 0.5
    union = int((ours | theirs).sum())
    return float((ours & theirs).sum()) / union if union else 1.0


def gradient_error(matte: Alpha, truth: Alpha) -> float:
    """Squared difference of the gradients' magnitudes, by derivatives of a Gaussian."""
    return float(((_slope(matte) - _slope(truth)) ** 2).sum()) / 1000


def connectivity_error(matte: Alpha, truth: Alpha) -> float:
    """How much of the matte is not connected to the object at the level where it should be."""
    lowest = np.full(matte.shape, -1.0, np.float32)
    for level in np.arange(STEP, 1.0 + STEP / 2, STEP, dtype=np.float32):
        lost = ~_largest((matte >= level) & (truth >= level)) & (lowest == -1)
        lowest[lost] = level - STEP
    lowest[lowest == -1] = 1.0
    return float(np.abs(_connected(matte, lowest) - _connected(truth, lowest)).sum()) / 1000


def _slope(alpha: Alpha) -> Alpha:
    radius = int(np.ceil(3 * SIGMA))
    x = np.arange(-radius, radius + 1, dtype=np.float32)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2))
    smooth /= np.sqrt((smooth**2).sum())
    steep = -x / SIGMA**2 * np.exp(-(x**2) / (2 * SIGMA**2))
    steep /= np.sqrt((steep**2).sum())
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, steep, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, steep, borderType=cv2.BORDER_REPLICATE)
    return np.sqrt(across**2 + down**2)  # type: ignore[no-any-return]


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))  # type: ignore[no-any-return]


def _connected(alpha: Alpha, lowest: Alpha) -> Alpha:
    beyond = alpha - lowest
    return 1 - beyond * (beyond >= TOLERANCE)
