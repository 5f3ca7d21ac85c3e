"""What each stage costs an image, and how that grows with size, format, canvas and batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from watcher.commands.bench.children import ChildProcess, Setup, ask_all, children
from watcher.commands.bench.plan import FORMATS, Bench, Plan, name
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, ratios, spread

STAGES = ("read", "decode", "upload", "resize, copy", "coarse", "refine", "decontaminate", "encode", "write")
CODECS = ("read", "decode", "encode", "write")
"""The stages that are not the device's."""
Runs = Sequence[Mapping[str, tuple[float, float]]]
"""Wall and CPU seconds an image by stage, of each repeat."""


def medians(runs: Runs, kind: int) -> dict[str, float]:
    """Seconds by stage, the median of all repeats; `kind` 0 is wall time, 1 CPU time. A stage that was not there: 0."""
    return {stage: median([run.get(stage, (0.0, 0.0))[kind] for run in runs]) for stage in STAGES}


def means(runs: Runs, kind: int) -> dict[str, float]:
    """The same, but of all repeats together."""
    return {stage: fmean([run.get(stage, (0.0, 0.0))[kind] for run in runs]) for stage in STAGES}


def total(runs: Runs, kind: int) -> Spread:
    """Milliseconds an image, all stages together."""
    return spread([1000 * sum(pair[kind] for pair in run.values()) for run in runs])


def stage_costs(bench: Bench) -> Section:
    """By stage and format at one size, and by size."""
    plan, cells, by_size = bench.plan, {}, {}
    with children(bench.one, bench.model, bench.canvas) as (process, *_):
        for format in FORMATS:
            cells[format] = _stages(bench, process, bench.photos(plan.hd, format=format), f"{format}")
        for size in plan.stage_sizes:
            by_size[name(size)] = _sized(bench, process, size)
    chart = Chart(
        name="stages",
        title=f"CPU time of one {name(plan.hd)} image, by what it comes as",
        kind="stack",
        x=tuple(cells),
        x_label="",
        y_label="CPU ms an image",
        series=tuple(
            Series(label=stage, values=tuple(1000 * medians(runs, 1)[stage] for runs in cells.values()))
            for stage in STAGES[1:]
        ),
    )
    return Section(
        key="stages",
        title="Stage costs",
        text=(
            f"Each stage alone, nothing beside it, in batches of {plan.stage_batch}; wall time and the CPU time of "
            f"all threads ({bench.one.threads} for the model). `resize, copy` is what the device thread does between "
            "the named steps.",
        ),
        tables=(_by_stage(name(plan.hd), cells), _by_size(plan.stage_sizes, by_size)),
        charts=(chart, _size_chart(by_size)),
    )


def _sized(bench: Bench, process: ChildProcess, size: tuple[int, int]) -> dict[str, Any]:
    """Larger pictures one at a time, and fewer different ones: they take long to draw."""
    files = bench.photos(size, 2 if size[0] * size[1] > 3e6 else bench.plan.distinct)
    bench.say(f"stages, {name(size)}")
    batch = 1 if size[0] * size[1] > 3e6 else bench.plan.stage_batch
    return process.ask("stages", files=files, batch=batch, repeats=bench.plan.repeats)


def _stages(bench: Bench, process: ChildProcess, files: list[str], what: str, **options: Any) -> Runs:
    bench.say(f"stages, {what}")
    asked = {"batch": bench.plan.stage_batch, "repeats": bench.plan.repeats, **options}
    runs: Runs = process.ask("stages", files=files, **asked)["runs"]
    return runs


def _by_stage(size: str, cells: Mapping[str, Runs]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for stage in STAGES:
        times = [1000 * medians(runs, kind)[stage] for runs in cells.values() for kind in (0, 1)]
        rows.append((stage, *times))
    rows.append(("all", *(total(runs, kind) for runs in cells.values() for kind in (0, 1))))
    return Table(
        name="stages",
        title=f"Milliseconds of a {size} image by stage",
        columns=("stage", *(f"{format} {kind}" for format in cells for kind in ("wall", "CPU"))),
        rows=tuple(rows),
    )


def _by_size(sizes: Sequence[tuple[int, int]], found: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for (width, height), (label, answer) in zip(sizes, found.items(), strict=True):
        wall = total(answer["runs"], 0)
        cpu = medians(answer["runs"], 1)
        device = sum(cpu[stage] for stage in STAGES if stage not in CODECS)
        megapixels = width * height / 1e6
        cells = (wall, total(answer["runs"], 1), 1000 * cpu["decode"], 1000 * device, 1000 * cpu["encode"])
        rows.append((label, *cells, wall.median / megapixels, answer["peak"] / 1e9))
    return Table(
        name="sizes",
        title="JPEGs by size: milliseconds an image",
        columns=(
            "size",
            "wall",
            "CPU",
            "decode, CPU",
            "device steps, CPU",
            "encode, CPU",
            "wall a megapixel",
            "peak GB",
        ),
        rows=tuple(rows),
        note="Peak: of the worker's process on a CPU, of torch's allocator on a card.",
    )


def _size_chart(found: Mapping[str, Mapping[str, Any]]) -> Chart:
    return Chart(
        name="sizes",
        title="CPU time of one JPEG by size",
        kind="stack",
        x=tuple(found),
        x_label="",
        y_label="CPU ms an image",
        series=tuple(
            Series(label=stage, values=tuple(1000 * medians(answer["runs"], 1)[stage] for answer in found.values()))
            for stage in STAGES[1:]
        ),
    )


def sweeps(bench: Bench) -> Section:
    """The model's steps alone, by batch size and by canvas."""
    files, plan = bench.photos(bench.plan.square), bench.plan
    batches, canvases, eager = {}, {}, {}
    with children(bench.one, bench.model, bench.canvas) as (process, *_):
        for batch in plan.sweep_batches:
            batches[batch] = _stages(bench, process, files, f"batches of {batch}", batch=batch)
            if not bench.on_cpu:
                what = f"batches of {batch} without graphs"
                eager[batch] = _stages(bench, process, files, what, batch=batch, cuda_graphs=False)
        for canvas in plan.canvases:
            canvases[canvas] = _stages(bench, process, files, f"canvas {canvas}", canvas=canvas)
    return Section(
        key="sweeps",
        title="Sweeps: batch size and canvas",
        text=(
            f"The device's steps alone, without codecs, on {name(plan.square)} pictures. The canvas is the size at "
            "which the coarse step sees the whole picture.",
        ),
        tables=(
            _sweep("batch-sweep", "Milliseconds an image by batch size", "batch", batches),
            _sweep(
                "canvas-sweep", f"Milliseconds an image by canvas, batches of {plan.stage_batch}", "canvas", canvases
            ),
            *([graphs_gain(batches, eager)] if eager else []),
        ),
        charts=(
            _sweep_chart("batch-sweep", "Steps on the device by batch size", "images in a batch", batches),
            _sweep_chart("canvas-sweep", "Steps on the device by canvas", "canvas's longer side, pixels", canvases),
        ),
    )


STEPS = ("coarse", "refine", "decontaminate")


def _sweep(key: str, title: str, first: str, found: Mapping[int, Runs]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for value, runs in found.items():
        steps = [spread([1000 * run[step][0] for run in runs]) for step in STEPS]
        rows.append((value, *steps, 1 / sum(_device(runs))))
    return Table(name=key, title=title, columns=(first, *STEPS, "img/s of the device"), rows=tuple(rows))


def graphs_gain(recorded: Mapping[int, Runs], eager: Mapping[int, Runs]) -> Table:
    """The coarse step with and without CUDA graphs."""
    rows: list[tuple[Cell, ...]] = []
    for batch, runs in recorded.items():
        one, other = ([run["coarse"][0] for run in those] for those in (runs, eager[batch]))
        rows.append((batch, *(spread([1000 * time for time in times]) for times in (one, other)), ratios(other, one)))
    return Table(
        name="graphs",
        title="The coarse step with CUDA graphs and without",
        columns=("batch", "with, ms an image", "without, ms an image", "times as fast"),
        rows=tuple(rows),
        note="Large batches are not recorded, so that both are the same for them.",
    )


def _device(runs: Runs) -> Iterator[float]:
    """Seconds an image of everything between the codecs."""
    times = medians(runs, 0)
    return (times[stage] for stage in STAGES if stage not in CODECS)


def _sweep_chart(key: str, title: str, x_label: str, found: Mapping[int, Runs]) -> Chart:
    lines = [
        Series(label=step, values=tuple(1000 * medians(runs, 0)[step] for runs in found.values())) for step in STEPS
    ]
    return Chart(
        name=key,
        title=title,
        kind="line",
        x=tuple(map(str, found)),
        x_label=x_label,
        y_label="ms an image",
        series=tuple(lines),
    )


def busy_costs(bench: Bench, files: list[str]) -> dict[str, float]:
    """CPU seconds an image by stage while every core does the same: one thread and one process on each core.

    Cores that share caches, memory or a physical core are slower together than alone, so this is what counts where all
    of them are to be busy. The mean of all pictures, each as often as every other: a folder takes its sum, to which
    those with a long outline add more than a median shows.
    """
    plan, setup = bench.plan, Setup("each core", ("cpu",) * bench.whole_cores, 1)
    bench.say("stages with all cores busy")
    options = {"files": files, "batch": plan.stage_batch}
    with children(setup, bench.model, bench.canvas) as processes:
        ask_all(processes, "stages", repeats=1, **options)  # until all are warm
        _, answers = ask_all(processes, "stages", repeats=whole_rounds(len(files), plan), **options)
    return means([run for answer in answers for run in answer["runs"]], 1)


def whole_rounds(files: int, plan: Plan) -> int:
    """The least number of batches, `plan.repeats` or more, in which every file has come equally often."""
    once = files // math.gcd(files, plan.stage_batch)
    return once * max(1, math.ceil(plan.repeats / once))


def device_costs(bench: Bench, files: list[str]) -> tuple[dict[str, float], float]:
    """On a card: CPU seconds an image by stage, and the seconds that the device itself is busy with one."""
    with children(bench.one, bench.model, bench.canvas) as (process, *_):
        options = {"batch": 16, "repeats": bench.plan.repeats}
        runs = _stages(bench, process, files, "on the card", **options)
    return medians(runs, 1), sum(_device(runs))
