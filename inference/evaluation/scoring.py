"""Scores of cut-outs, and the files about them: the same for held-out splits and for a user's folders."""

from __future__ import annotations

import csv
import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from inference.evaluation.contact_sheet import Row, contact_sheet, on_checkerboard
from inference.evaluation.metrics import Scores, mean, score
from inference.picture import Cutout

SHEET = 12
"""Rows of a sheet."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture H x W x 3, its true alpha H x W, the model's cut-out, and the figures."""

    name: str
    picture: Bytes
    truth: Bytes
    cutout: Cutout
    scores: Scores


def judged(name: str, picture: Bytes, truth: Bytes, cutout: Cutout) -> Judged:
    """Score a cut-out against the true alpha, which has the picture's size."""
    matte, true = (np.divide(alpha, 255, dtype=np.float32) for alpha in (cutout.pixels[..., 3], truth))
    return Judged(name, picture, truth, cutout, score(matte, true))


@dataclass
class Verdict:
    """The figures of all pictures, and the worst pictures themselves."""

    scores: dict[str, Scores] = field(default_factory=dict)
    _worst: list[tuple[float, int, Judged]] = field(default_factory=list)

    def add(self, one: Judged) -> None:
        """Add a picture."""
        entry = (one.scores.mad, len(self.scores), one)
        self.scores[one.name] = one.scores
        (heapq.heappush if len(self._worst) < SHEET else heapq.heappushpop)(self._worst, entry)

    @property
    def mean(self) -> Scores:
        """The mean of every figure."""
        return mean(list(self.scores.values()))

    @property
    def worst(self) -> list[Judged]:
        """The pictures with the largest MAD, worst first."""
        return [one for *_, one in sorted(self._worst, key=lambda entry: entry[:2], reverse=True)]

    def write(self, out: Path) -> None:
        """Write figures.json with the means, figures.csv with a line for each picture, and worst.png."""
        out.mkdir(parents=True, exist_ok=True)
        means = {"count": len(self.scores), **asdict(self.mean)}
        (out / "figures.json").write_text(json.dumps(means, indent=2) + "\n", "utf-8")
        with (out / "figures.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["picture", *Scores.names()])
            writer.writerows([name, *_numbers(scores, 6)] for name, scores in self.scores.items())
        sheet(self.worst, out / "worst.png")


def table(title: str, scores: Scores) -> Table:
    """The figures, for people."""
    result = Table(title=title)
    for name in Scores.names():
        result.add_column(name.upper() if name in ("sad", "mse", "mad") else name.capitalize(), justify="right")
    result.columns[-1].header = "IoU"
    result.add_row(*_numbers(scores, 4))
    return result


def _numbers(scores: Scores, digits: int) -> Iterable[str]:
    return (f"{value:.{digits}f}" for value in asdict(scores).values())


def sheet(some: Sequence[Judged], path: Path) -> None:
    """Draw picture, truth, matte and cut-out in a row for each."""
    rows = [
        Row(
            f"{one.name}\nMAD {one.scores.mad:.3f}, IoU {one.scores.iou:.2f}",
            [Image.fromarray(one.picture), Image.fromarray(one.truth), *views(one.cutout)],
        )
        for one in some
    ]
    contact_sheet(rows, ["picture", "truth", "matte", "cut-out"], path)


def views(cutout: Cutout) -> list[Image.Image]:
    """The matte alone, and the cut-out on a checkerboard."""
    matte = Image.fromarray(np.ascontiguousarray(cutout.pixels[..., 3]))
    return [matte, on_checkerboard(Image.fromarray(cutout.pixels))]
