"""The learning curve, drawn from a training's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # no screen where trainings run
from matplotlib import pyplot as plt


def draw_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw loss and learning rate over the minutes of training, as a PNG."""
    minutes = [line["minutes"] for line in history]
    figure, left = plt.subplots(figsize=(9, 4.5), layout="constrained")
    left.plot(minutes, [line["loss"] for line in history], color="#1f5fa8")
    left.set(xlabel="minutes of training", ylabel="loss", ylim=(0, None))
    left.grid(alpha=0.3)
    right = left.twinx()
    right.plot(minutes, [line["learning_rate"] for line in history], color="#c8102e", alpha=0.6)
    right.set(ylabel="learning rate", ylim=(0, None))
    left.set_title(f"{int(history[-1]['samples']):,} samples, loss {history[-1]['loss']:.3f}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
