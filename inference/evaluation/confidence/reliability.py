"""How reliable a confidence is: the bad cut-outs among the least sure ones, and how often each confidence is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from inference.evaluation.confidence.measured import Measured
from inference.review.calibration import Calibration

mpl.use("Agg")
from matplotlib import pyplot as plt

SHARES = (0.1, 0.2, 0.3)
"""Shares of the least sure pictures that the table has a line for."""
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
"""Bounds of the confidences that share a point of the plot."""
INK, BLUE, FAINT = "#222222", "#0072b2", "#bbbbbb"


@dataclass(frozen=True)
class Worst:
    """The least sure pictures of a set."""

    share: float
    """Of all pictures."""
    held: float
    """Share of all bad cut-outs that are among them."""
    bad: float
    """Share of them that are bad."""


def confidences(calibration: Calibration, measured: Sequence[Measured]) -> NDArray[np.float64]:
    """The confidence of each picture."""
    return np.array([calibration.review(one.signals).confidence for one in measured])


def worst(confidence: NDArray[np.float64], good: NDArray[np.bool_], share: float) -> Worst:
    """Count the bad cut-outs among the share of pictures with the lowest confidence."""
    count = round(share * len(good))
    bad = ~good[np.argsort(confidence, kind="stable")[:count]]
    return Worst(share, float(bad.sum() / max(1, (~good).sum())), float(bad.mean()))


def area_under_curve(confidence: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """The chance that a good cut-out has a higher confidence than a bad one (area under the ROC curve)."""
    higher = (confidence[good][:, None] > confidence[~good]).mean()
    equal = (confidence[good][:, None] == confidence[~good]).mean()
    return float(higher + equal / 2)


def table(title: str, confidence: NDArray[np.float64], good: NDArray[np.bool_]) -> str:
    """The figures as a table of Markdown."""
    bad = int((~good).sum())
    lines = [
        f"{title}: {len(good)} cut-outs, {bad} of them bad, AUC {area_under_curve(confidence, good):.3f}",
        "",
        "| least sure | share of all bad cut-outs among them | bad among them |",
        "|---|---|---|",
    ]
    rows = (worst(confidence, good, share) for share in SHARES)
    return "\n".join([*lines, *(f"| {row.share:.0%} | {row.held:.0%} | {row.bad:.0%} |" for row in rows)])


def plot(sets: Sequence[tuple[str, NDArray[np.float64], NDArray[np.bool_]]], path: Path) -> None:
    """Draw the share of good cut-outs by confidence, and how many cut-outs have it, in one column for each set."""
    figure, axes = plt.subplots(
        2,
        len(sets),
        figsize=(4.3 * len(sets), 5),
        height_ratios=(3, 1),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for column, (title, confidence, good) in enumerate(sets):
        _reliability(axes[0][column], confidence, good)
        axes[0][column].set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
        axes[1][column].hist(
            [confidence[good], confidence[~good]], bins=20, range=(0, 1), stacked=True, color=(BLUE, "#d55e00")
        )
        axes[1][column].set(xlabel="confidence", ylabel="cut-outs")
        axes[1][column].legend(("good", "bad"), frameon=False, fontsize=8, loc="upper left")
    axes[0][0].set_ylabel("share that is good (IoU of 0.9 and more)")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _reliability(axis: Any, confidence: NDArray[np.float64], good: NDArray[np.bool_]) -> None:
    axis.plot((0, 1), (0, 1), color=FAINT, ls="--", lw=1.2)
    places = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
    filled = [place for place in range(len(BINS) - 1) if (places == place).any()]
    means = [confidence[places == place].mean() for place in filled]
    shares = np.array([good[places == place].mean() for place in filled])
    counts = np.array([(places == place).sum() for place in filled])
    axis.errorbar(means, shares, np.sqrt(shares * (1 - shares) / counts), color=BLUE, marker="o", lw=1.6, capsize=3)
    for x, y, count in zip(means, shares, counts, strict=True):
        axis.annotate(f"{count}", (x, y), (5, -11), textcoords="offset points", fontsize=8, color=INK)
    axis.set(xlim=(0, 1), ylim=(0, 1.02))
