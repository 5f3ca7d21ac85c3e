"""Section `folder`: table 3 of the reference article, a folder through the daemon."""

from __future__ import annotations

from pathlib import Path

from watcher.commands.bench.article import FOLDER_RATE, FOLDER_SECONDS
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.daemon.run_once import OnceOptions, OnceRun, run_once
from watcher.commands.bench.photos import fill_folder
from watcher.commands.bench.report import Cell, Section, Table
from watcher.commands.bench.workload import size_label


def measure(context: BenchContext) -> Section:
    """Run `alphadrop once` over the folder with each group of devices."""
    workload = context.workload
    photos = [Path(path) for path in context.photos(workload.hd)]
    source = fill_folder(photos, context.folder / "folder", workload.folder_images)
    runs: dict[str, OnceRun] = {}
    for group in context.groups:
        context.show(f"the daemon over {workload.folder_images} images, {group.name}")
        options = OnceOptions(",".join(group.devices), context.model, context.canvas, workload.folder_batch)
        runs[group.name] = run_once(source, context.folder / "once", options)
    text = (
        f"`alphadrop once` over a folder of {size_label(workload.hd)} JPEGs, with its queue, flushed writes and "
        "metrics, from the moment a worker is ready to the last output. On a CPU, two workers share the cores that one "
        "worker has to itself."
    )
    return Section(
        key="folder",
        title="Table 3: a folder through the daemon",
        text=(text,),
        tables=(_table(workload.folder_images, workload.folder_batch, runs),),
    )


def _table(images: int, batch: int, runs: dict[str, OnceRun]) -> Table:
    first, *others = runs.values()
    rows: list[tuple[Cell, ...]] = [
        ("seconds", *(run.seconds for run in runs.values()), *FOLDER_SECONDS),
        ("images a second", *(run.rate for run in runs.values()), *FOLDER_RATE),
        ("gain", None, *(_gain(run, first) for run in others), None, "+88.1 %"),
        ("CPU seconds per image", *(run.cpu / run.images for run in runs.values()), None, None),
        ("largest process, GB", *(run.peak_rss / 1e9 for run in runs.values()), None, None),
    ]
    return Table(
        name="table3",
        title=f"Table 3: {images} images, batch {batch}",
        columns=("", *runs, "article 1 GPU", "article 2 GPUs"),
        rows=tuple(rows),
        note="The article's 500 images took 1180 s and 635 s."
        + ("" if images == 500 else f" This folder has {images} images: compare images a second."),
    )


def _gain(run: OnceRun, first: OnceRun) -> str:
    """Gain in throughput, written as in the article."""
    return f"{100 * (run.rate / first.rate - 1):+.1f} %"
