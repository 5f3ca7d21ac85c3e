"""Judging a model on the held-out splits, and on photographs to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from inference import Cutout, Engine, EngineOptions, Picture
from inference.evaluation.contact_sheet import Row, contact_sheet
from inference.evaluation.metrics import Scores
from inference.evaluation.photographs import photographs
from inference.evaluation.scoring import SHEET, Judged, Verdict, judged, sheet, table, views
from inference.synthetic import DRAWN, SOLID, Repertoire, Sample, render_sample

HELD_OUT = 20_250_701
"""The splits' seed. The training's seeds are small numbers, so no sample of them is ever trained on."""
SPLITS: dict[str, Repertoire] = {"drawn": DRAWN, "solid": SOLID}
"""Flat drawings, as they were since the first weights, and solid objects."""
SIZES = ((320, 320), (384, 512), (512, 384), (480, 640), (640, 480), (512, 512), (360, 640), (640, 400))


def held_out(index: int, split: str = "drawn") -> Sample:
    """The split's picture of that number: always the same, everything in it fresh, sizes in turn."""
    height, width = SIZES[index % len(SIZES)]
    return render_sample(np.random.default_rng([HELD_OUT, index]), height, width, SPLITS[split])


def evaluate(model: str, out: Path, count: int, split: str = "drawn") -> Scores:
    """Score `model` on `count` pictures of a split; writes figures.json, figures.csv and the sheets into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    verdict, first = Verdict(), list[Judged]()
    with Engine(EngineOptions(model=model)) as engine:
        for one in track(judge(engine, count, split), "judging", count, console=Console(stderr=True)):
            verdict.add(one)
            first += [one] if len(first) < SHEET else []
        photo_sheet(engine, out / "photographs.png")
    verdict.write(out)
    sheet(first, out / "first.png")
    Console().print(table(f"{count} held-out pictures, {split}", verdict.mean))
    print(f"sheets and figures are in {out}")
    return verdict.mean


def judge(engine: Engine, count: int, split: str = "drawn") -> Iterator[Judged]:
    """Every picture's figures; the next ones are rendered while the engine works."""
    waiting: deque[tuple[int, Sample, Future[Cutout]]] = deque()
    for index in range(count):
        sample = held_out(index, split)
        waiting.append((index, sample, engine.submit(Picture(sample.image))))
        if len(waiting) > 2:
            yield _judged(*waiting.popleft())
    while waiting:
        yield _judged(*waiting.popleft())


def _judged(index: int, sample: Sample, promise: Future[Cutout]) -> Judged:
    return judged(str(index), sample.image, sample.alpha, promise.result())


def photo_sheet(engine: Engine, path: Path) -> None:
    """What the model makes of real photographs, for which there is no truth but the eye."""
    rows = []
    for name, pixels in photographs():
        cutout = engine.submit(Picture(pixels)).result()
        rows.append(Row(name, [Image.fromarray(pixels), *views(cutout)]))
    contact_sheet(rows, ["photograph", "matte", "cut-out"], path)
