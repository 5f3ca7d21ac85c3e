"""Compares two models: the pictures on which they differ most, on a checkerboard, white and black."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from inference.codec import MAX_PIXELS, decode
from inference.engine import Engine
from inference.errors import PictureError
from inference.evaluation.contact_sheet import Row, contact_sheet, on_colour
from inference.evaluation.pairs import Complain
from inference.picture import Cutout, Picture

CELL = 240
"""Side of a cell in pixels."""


@dataclass(frozen=True, eq=False)
class Duel:
    """One picture, its cut-outs by two models, and the mean difference of their alphas in 0..1."""

    name: str
    picture: Picture
    first: Cutout
    second: Cutout
    difference: float


def duels(engines: tuple[Engine, Engine], folder: Path, paths: Iterable[Path], complain: Complain) -> Iterator[Duel]:
    """Cut each picture out with both models; pictures that cannot be read are left out."""
    for path in paths:
        name = str(path.relative_to(folder))
        try:
            picture = decode(path.read_bytes(), max_pixels=MAX_PIXELS)
            one, other = [promise.result() for promise in [engine.submit(picture) for engine in engines]]
        except (PictureError, OSError) as error:
            complain(name, str(error))
            continue
        alphas = [cutout.pixels[..., 3].astype(np.int16) for cutout in (one, other)]
        yield Duel(name, picture, one, other, float(np.abs(alphas[0] - alphas[1]).mean()) / 255)


@dataclass
class Comparison:
    """The differences of all pictures, and the `most` pictures that differ most."""

    most: int
    lines: list[tuple[str, float, float, float]] = field(default_factory=list)
    """Name, mean difference, mean alpha of the first and of the second."""
    _kept: list[tuple[float, int, Duel]] = field(default_factory=list)

    def add(self, duel: Duel) -> None:
        """Add a picture."""
        entry = (duel.difference, -len(self.lines), duel)
        self.lines.append((duel.name, duel.difference, duel.first.coverage, duel.second.coverage))
        (heapq.heappush if len(self._kept) < self.most else heapq.heappushpop)(self._kept, entry)

    @property
    def kept(self) -> list[Duel]:
        """The pictures that differ most, the largest difference first."""
        return [duel for *_, duel in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]

    def write(self, out: Path, names: tuple[str, str]) -> None:
        """Write sheet.png, and differences.csv with a line for each picture."""
        out.mkdir(parents=True, exist_ok=True)
        with (out / "differences.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["picture", "mean_difference", f"coverage {names[0]}", f"coverage {names[1]}"])
            writer.writerows([name, *(f"{value:.6f}" for value in values)] for name, *values in self.lines)
        rows = [Row(f"{duel.name}\ndiffers by {duel.difference:.3f}", list(_cells(duel))) for duel in self.kept]
        heads = [f"{name}, {where}" for where in ("squares", "white", "black") for name in names]
        contact_sheet(rows, ["picture", *heads], out / "sheet.png", CELL)


def _cells(duel: Duel) -> Sequence[Image.Image]:
    both = [Image.fromarray(cutout.pixels) for cutout in (duel.first, duel.second)]
    for cutout in both:
        cutout.thumbnail((2 * CELL, 2 * CELL))
    plain = [on_colour(cutout, colour) for colour in ("white", "black") for cutout in both]
    return [Image.fromarray(duel.picture.pixels), *both, *plain]  # a sheet shows what has alpha over squares
