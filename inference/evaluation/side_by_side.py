"""The splits `drawn`, `solid` and `real`, for one model of ours and the networks that it is compared with.

Every model gets the same pictures in the same run, one after the other, so that their CPU times can be compared on a
machine that does other work as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference.corpus.layout import Layout
from inference.engine import Engine, EngineOptions
from inference.evaluation.contact_sheet import Row, contact_sheet
from inference.evaluation.held_out import SPLITS, held_out
from inference.evaluation.photographs import photographs
from inference.evaluation.real import BACKGROUNDS, real_names, real_samples
from inference.evaluation.scoring import Verdict, judged, views
from inference.picture import Picture
from inference.synthetic import Sample

REAL = "real"
TABLE_WIDTH = 110
"""Of the printed table, which is the same in a file as on a screen."""
EVERY_SPLIT = (*SPLITS, REAL)


@dataclass
class Line:
    """The scores of one model on one split, or on one kind of background of the `real` split."""

    verdict: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0
    """CPU time of the engine, which computes on one thread: more of them spend time on waiting for each other."""

    def figures(self) -> dict[str, float]:
        """Means over the pictures, and CPU milliseconds a picture."""
        count = len(self.verdict.scores)
        return {"count": count, "cpu_ms": 1000 * self.seconds / count, **asdict(self.verdict.mean)}


def rivals(layout: Layout) -> dict[str, str]:
    """Name and file of each network to compare with that is there."""
    files = {"u2netp": layout.small_rival, "u2net": layout.teacher}
    return {name: str(path) for name, path in files.items() if path.exists()}


def evaluate(
    models: Mapping[str, str], out: Path, layout: Layout, splits: Sequence[str], count: int
) -> dict[tuple[str, str], Line]:
    """Score the models on `count` pictures of `drawn` and `solid` and all of `real`, and print a table.

    The first model is ours: of it, the worst pictures of each split and the photographs become sheets in `out`, with
    a table figures.csv for each split. figures.json holds the means. Raises OSError where `real` is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    ours = next(iter(models))
    lines: dict[tuple[str, str], Line] = {}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(Engine(EngineOptions(model=model, threads=1))) for name, model in models.items()
        }
        for split, total, samples in pictures(layout, splits, count):
            for name in engines:
                lines[split, name] = Line()
            for key, sample in track(samples, split, total, console=Console(stderr=True)):
                for name, engine in engines.items():
                    add(lines[split, name], engine, key, sample)
            lines[split, ours].verdict.write(out / split.replace(", ", "-"))
        photo_sheet(engines[ours], out / "photographs.png", layout)
    means = {f"{split}: {name}": line.figures() for (split, name), line in lines.items()}
    (out / "figures.json").write_text(json.dumps(means, indent=2) + "\n", "utf-8")
    Console(width=TABLE_WIDTH).print(table(lines))
    print(f"Sheets and figures are in {out}.")
    return lines


def pictures(
    layout: Layout, splits: Sequence[str], count: int
) -> Iterator[tuple[str, int, Iterator[tuple[str, Sample]]]]:
    """Name, length and pictures of each split; `real` is three, one for each kind of background."""
    for split in splits:
        if split != REAL:
            yield split, count, ((str(index), held_out(index, split)) for index in range(count))
            continue
        total = len(real_names(layout))
        for background in BACKGROUNDS:
            yield f"{REAL}, {background}", total, real_samples(layout, background)


def add(line: Line, engine: Engine, key: str, sample: Sample) -> None:
    """Let the engine cut out one picture while nothing else works in this process, and score it."""
    begun = time.process_time()
    cutout = engine.submit(Picture(sample.image)).result()
    line.seconds += time.process_time() - begun
    line.verdict.add(judged(key, sample.image, sample.alpha, cutout))


def table(lines: Mapping[tuple[str, str], Line]) -> Table:
    """The figures, for people."""
    result = Table(title="held-out pictures; errors are better when low, IoU when high", box=None)
    for name in ("split", "model"):
        result.add_column(name, no_wrap=True)
    for name in ("MAD", "IoU", "SAD", "MSE", "Grad", "Conn", "CPU ms"):
        result.add_column(name, justify="right")
    before = ""
    for (split, name), line in lines.items():
        figures = line.figures()
        values = [f"{figures[key]:.4f}" for key in ("mad", "iou", "sad", "mse", "grad", "conn")]
        title = "" if split == before else f"{split} ({figures['count']})"
        result.add_row(title, name, *values, f"{figures['cpu_ms']:.0f}")
        before = split
    return result


def photo_sheet(engine: Engine, path: Path, layout: Layout) -> None:
    """Draw the model's cut-outs of photographs without true mattes, two in a row, to be judged by eye."""
    shown = []
    for name, pixels in photographs(layout):
        cutout = engine.submit(Picture(pixels)).result()
        shown.append((name, [Image.fromarray(pixels), *views(cutout)]))
    shown += [("", [Image.new("RGB", (1, 1), "white")] * 3)] * (len(shown) % 2)
    pairs = zip(shown[::2], shown[1::2], strict=True)
    rows = [Row(f"{left}\n{right}", [*cells, *others]) for (left, cells), (right, others) in pairs]
    contact_sheet(rows, ["photograph", "matte", "cut-out"] * 2, path, cell=220)
