"""Judging a model: figures on the held-out split, and sheets to look at."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference import Cutout, Engine, EngineOptions, Picture
from inference.training.data import Sample, render_sample
from inference.training.metrics import Scores, mean, score
from inference.training.photographs import photographs
from inference.training.sheet import Row, contact_sheet, on_checkerboard

HELD_OUT = 20_250_701
"""The split's seed. The training's seeds are small numbers, so no sample of it is ever trained on."""
SIZES = ((320, 320), (384, 512), (512, 384), (480, 640), (640, 480), (512, 512), (360, 640), (640, 400))
SHEET = 12


@dataclass(frozen=True)
class Judged:
    """One picture of the split, its matte and its figures."""

    index: int
    sample: Sample
    cutout: Cutout
    scores: Scores


def held_out(index: int) -> Sample:
    """The split's picture of that number: always the same, everything in it fresh, sizes in turn."""
    height, width = SIZES[index % len(SIZES)]
    return render_sample(np.random.default_rng([HELD_OUT, index]), height, width)


def evaluate(model: str, out: Path, count: int) -> Scores:
    """Score `model` on `count` held-out pictures; writes figures.json, figures.csv and the sheets into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with Engine(EngineOptions(model=model)) as engine:
        judged = list(track(judge(engine, count), "judging", count, console=Console(stderr=True)))
        photo_sheet(engine, out / "photographs.png")
    figures = mean([j.scores for j in judged])
    write_figures(out, figures, judged)
    sheet(judged[:SHEET], out / "first.png")
    sheet(sorted(judged, key=lambda j: -j.scores.mad)[:SHEET], out / "worst.png")
    Console().print(table(figures, count))
    print(f"sheets and figures are in {out}")
    return figures


def judge(engine: Engine, count: int) -> Iterator[Judged]:
    """Every picture's figures; the next ones are rendered while the engine works."""
    waiting: deque[tuple[int, Sample, Future[Cutout]]] = deque()
    for index in range(count):
        sample = held_out(index)
        waiting.append((index, sample, engine.submit(Picture(sample.image))))
        if len(waiting) > 2:
            yield _judged(*waiting.popleft())
    while waiting:
        yield _judged(*waiting.popleft())


def _judged(index: int, sample: Sample, promise: Future[Cutout]) -> Judged:
    cutout = promise.result()
    matte, truth = (np.divide(a, 255, dtype=np.float32) for a in (cutout.pixels[..., 3], sample.alpha))
    return Judged(index, sample, cutout, score(matte, truth))


def write_figures(out: Path, figures: Scores, judged: list[Judged]) -> None:
    """The means as JSON, every picture's figures as CSV."""
    (out / "figures.json").write_text(json.dumps({"count": len(judged), **asdict(figures)}, indent=2) + "\n")
    with (out / "figures.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", *Scores.names()])
        writer.writerows([j.index, *(f"{value:.6f}" for value in asdict(j.scores).values())] for j in judged)


def table(figures: Scores, count: int) -> Table:
    """The means, for people."""
    result = Table(title=f"{count} held-out pictures")
    for name in Scores.names():
        result.add_column(name.upper() if name != "iou" else "IoU", justify="right")
    result.add_row(*(f"{value:.4f}" for value in asdict(figures).values()))
    return result


def sheet(judged: list[Judged], path: Path) -> None:
    """Picture, truth, matte and cut-out, a row each."""
    rows = [
        Row(
            f"{j.index}: MAD {j.scores.mad:.3f}, IoU {j.scores.iou:.2f}",
            [Image.fromarray(j.sample.image), Image.fromarray(j.sample.alpha), *views(j.cutout)],
        )
        for j in judged
    ]
    contact_sheet(rows, ["picture", "truth", "matte", "cut-out"], path)


def photo_sheet(engine: Engine, path: Path) -> None:
    """What the model makes of real photographs, for which there is no truth but the eye."""
    rows = []
    for name, pixels in photographs():
        cutout = engine.submit(Picture(pixels)).result()
        rows.append(Row(name, [Image.fromarray(pixels), *views(cutout)]))
    contact_sheet(rows, ["photograph", "matte", "cut-out"], path)


def views(cutout: Cutout) -> list[Image.Image]:
    """The matte alone, and the cut-out on a checkerboard."""
    return [
        Image.fromarray(np.ascontiguousarray(cutout.pixels[..., 3])),
        on_checkerboard(Image.fromarray(cutout.pixels)),
    ]
