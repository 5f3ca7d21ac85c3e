"""Quality against cost when the strong model gets only the pictures of which the fast one is least sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from inference.evaluation.confidence.measured import Measured

mpl.use("Agg")
from matplotlib import pyplot as plt

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.34, 0.4, 0.5, 0.75, 1.0)
"""Shares of pictures for the strong model that the table has a line for."""
GAIN, COST = 0.95, 0.40
"""What is asked for: this share of the strong model's gain at no more than this share of its cost."""
INK, BLUE, ORANGE, FAINT = "#222222", "#0072b2", "#e69f00", "#bbbbbb"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A cascade in which the strong model gets a share of the pictures."""

    share: float
    threshold: float
    """The lowest confidence that stays with the fast model alone; 1 where none does."""
    iou: float
    mad: float
    more: float
    """IoU beyond that of the fast model alone."""
    cost: float
    """CPU time, as a share of what the strong model takes for all pictures."""


@dataclass(frozen=True)
class Pair:
    """The figures of two models for the same pictures: arrays of 2 x N, the fast model first."""

    iou: Array
    mad: Array
    seconds: Array
    confidence: Array

    @classmethod
    def of(cls, fast: Sequence[Measured], strong: Sequence[Measured], confidence: tuple[Array, Array]) -> Pair:
        """The figures of both models, and the confidences of their mattes."""
        iou, mad, seconds = (np.array([[getattr(m, name) for m in s] for s in (fast, strong)]) for name in FIELDS)
        return cls(iou, mad, seconds, np.array(confidence))

    @property
    def gain(self) -> float:
        """IoU of the strong model alone beyond that of the fast one alone."""
        fast, strong = self.iou.mean(1)
        return float(strong - fast)

    @property
    def order(self) -> NDArray[np.intp]:
        """The pictures, those of which the fast model is least sure first."""
        return np.argsort(self.confidence[0], kind="stable")

    @property
    def surer(self) -> NDArray[np.bool_]:
        """Whether the strong model is the surer of the two, for each picture."""
        return self.confidence[1] > self.confidence[0]  # type: ignore[no-any-return]


def curve(pair: Pair) -> list[Point]:
    """The cascade for each of SHARES."""
    order = pair.order
    return [point(pair, order, round(share * len(order)), pair.surer) for share in SHARES]


def point(pair: Pair, order: NDArray[np.intp], count: int, stays: NDArray[np.bool_]) -> Point:
    """The cascade in which the strong model sees the first `count` pictures of `order`; of these, its matte `stays`."""
    sent = np.zeros(len(order), bool)
    sent[order[:count]] = True
    ious, mads, seconds, confidence = pair.iou, pair.mad, pair.seconds, pair.confidence[0]
    used = sent & stays
    iou = float(np.where(used, ious[1], ious[0]).mean())
    cost = (seconds[0].sum() + seconds[1][sent].sum()) / seconds[1].sum()
    threshold = float(confidence[order[count]]) if count < len(order) else 1.0
    mad = float(np.where(used, mads[1], mads[0]).mean())
    return Point(count / len(order), threshold, iou, mad, iou - float(ious[0].mean()), float(cost))


FIELDS = ("iou", "mad", "seconds")


def table(pair: Pair, points: Sequence[Point]) -> str:
    """The curve as a table of Markdown, with the strong model alone as its last line."""
    lines = ["| share | confidence below | IoU | more than alone | MAD | of the cost |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {p.share:.0%} | {p.threshold:.2f} | {p.iou:.4f} | {p.more:+.4f} | {p.mad:.4f} | {p.cost:.0%} |"
        for p in points
    ]
    iou, mad = pair.iou[1].mean(), pair.mad[1].mean()
    return "\n".join([*lines, f"| strong alone | | {iou:.4f} | {pair.gain:+.4f} | {mad:.4f} | 100% |"])


def verdict(pair: Pair, points: Sequence[Point]) -> str:
    """State in a sentence whether the cascade reaches its goal, or that the strong model alone is no better."""
    if pair.gain <= 0:
        best = max(points, key=lambda p: p.more)
        return (
            f"Alone, the fast model is better than the strong one, by {-pair.gain:.4f}. Together they gain at most "
            f"{best.more:+.4f}, at {best.cost:.0%} of the strong model's cost, with a share of {best.share:.0%}."
        )
    wanted = GAIN * pair.gain
    affordable = [p for p in points if p.cost <= COST]
    best = next((p for p in affordable if p.more >= wanted), max(affordable, key=lambda p: p.more))
    word = "Reached" if best.more >= wanted else "Not reached"
    return (
        f"Asked for: {GAIN:.0%} of the strong model's gain of {pair.gain:+.4f} at {COST:.0%} of its cost. {word}: "
        f"{best.more:+.4f} at {best.cost:.0%}, with a share of {best.share:.0%}."
    )


def plot(pair: Pair, names: tuple[str, str], path: Path) -> None:
    """Draw IoU against cost: with the surer matte, always the strong one's, by a random choice and by the best one."""
    order = pair.order
    counts, every = range(len(order) + 1), np.ones(len(order), bool)
    ours = [point(pair, order, count, pair.surer) for count in counts]
    strong = [point(pair, order, count, every) for count in counts]
    gains = pair.iou[1] - pair.iou[0]
    knowing = [point(pair, np.argsort(-gains, kind="stable"), count, gains > 0) for count in counts]
    figure, axes = plt.subplots(figsize=(7.5, 4.4), layout="constrained")
    axes.plot([p.cost for p in knowing], [p.iou for p in knowing], color=FAINT, label="best choice (needs the truth)")
    ends = (strong[0], strong[-1])
    axes.plot(
        [p.cost for p in strong], [p.iou for p in strong], color="#56b4e9", lw=1.2, label="the strong matte stays"
    )
    axes.plot([p.cost for p in ends], [p.iou for p in ends], color=FAINT, ls="--", label="chosen by chance")
    axes.plot(
        [p.cost for p in ours],
        [p.iou for p in ours],
        color=BLUE,
        lw=2,
        label="the surer matte stays",
    )
    for end, name in zip(ends, names, strict=True):
        axes.plot(end.cost, end.iou, "o", color=INK, ms=5)
        axes.annotate(f"{name} alone", (end.cost, end.iou), (6, -12), textcoords="offset points", fontsize=9)
    axes.axvline(COST, color=ORANGE, lw=1, ls=":")
    axes.axhline(ends[0].iou + GAIN * (ends[1].iou - ends[0].iou), color=ORANGE, lw=1, ls=":")
    axes.set(xlabel=f"cost, as a share of {names[1]}'s CPU time", ylabel="mean IoU on `real`")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
