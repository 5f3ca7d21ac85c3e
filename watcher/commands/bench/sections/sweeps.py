"""Section `sweeps`: the model's steps alone, by batch size and by canvas."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.engine.stage_times import STEPS, WALL, Runs, device_times, measure_stages, medians
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import ratios, spread
from watcher.commands.bench.workload import size_label


def measure(context: BenchContext) -> Section:
    """Measure each batch size and each canvas; on a GPU also each batch size without CUDA graphs."""
    files, workload = context.photos(context.workload.square), context.workload
    batches, canvases, eager = {}, {}, {}
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        for batch in workload.sweep_batches:
            batches[batch] = measure_stages(context, process, files, f"batches of {batch}", batch=batch)
            if not context.on_cpu:
                what = f"batches of {batch} without graphs"
                eager[batch] = measure_stages(context, process, files, what, batch=batch, cuda_graphs=False)
        for canvas in workload.canvases:
            canvases[canvas] = measure_stages(context, process, files, f"canvas {canvas}", canvas=canvas)
    return Section(
        key="sweeps",
        title="Sweeps: batch size and canvas",
        text=(
            f"The steps on the device alone, without codecs, on {size_label(workload.square)} pictures. The canvas is "
            "the size at which the coarse step sees the whole picture.",
        ),
        tables=(
            _table("batch-sweep", "Milliseconds per image by batch size", "batch", batches),
            _table(
                "canvas-sweep",
                f"Milliseconds per image by canvas, batches of {workload.stage_batch}",
                "canvas",
                canvases,
            ),
            *([cuda_graphs_table(batches, eager)] if eager else []),
        ),
        charts=(
            _chart("batch-sweep", "Steps on the device by batch size", "images in a batch", batches),
            _chart("canvas-sweep", "Steps on the device by canvas", "longer side of the canvas, pixels", canvases),
        ),
    )


def _table(name: str, title: str, first: str, found: Mapping[int, Runs]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for value, runs in found.items():
        steps = [spread([1000 * run[step][WALL] for run in runs]) for step in STEPS]
        rows.append((value, *steps, 1 / sum(device_times(runs))))
    return Table(name=name, title=title, columns=(first, *STEPS, "img/s of the device"), rows=tuple(rows))


def cuda_graphs_table(graphs: Mapping[int, Runs], eager: Mapping[int, Runs]) -> Table:
    """The coarse step with and without CUDA graphs, by batch size."""
    rows: list[tuple[Cell, ...]] = []
    for batch, runs in graphs.items():
        replayed, launched = ([run["coarse"][WALL] for run in some] for some in (runs, eager[batch]))
        milliseconds = (spread([1000 * time for time in times]) for times in (replayed, launched))
        rows.append((batch, *milliseconds, ratios(launched, replayed)))
    return Table(
        name="graphs",
        title="The coarse step with and without CUDA graphs",
        columns=("batch", "with, ms per image", "without, ms per image", "speed-up"),
        rows=tuple(rows),
        note="Large batches are not recorded as graphs, so both columns are the same for them.",
    )


def _chart(name: str, title: str, x_label: str, found: Mapping[int, Runs]) -> Chart:
    return Chart(
        name=name,
        title=title,
        kind="line",
        x=tuple(map(str, found)),
        x_label=x_label,
        y_label="ms per image",
        series=tuple(
            Series(label=step, values=tuple(1000 * medians(runs, WALL)[step] for runs in found.values()))
            for step in STEPS
        ),
    )
