"""Section `single`: tables 1 and 2 of the reference article, latency and memory of one image at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from watcher.commands.bench.article import GIGABYTES, MILLISECONDS, article_cells, columns
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import EngineProcess, start_processes
from watcher.commands.bench.report import Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, spread
from watcher.commands.bench.workload import size_label

Found = Mapping[str, Sequence[tuple[Spread, int]]]
"""By size: milliseconds and peak bytes of each group of devices."""


def measure(context: BenchContext) -> Section:
    """Measure one image at a time, from a file's bytes to the cut-out's bytes; loading the model does not count."""
    workload = context.workload
    found: dict[str, list[tuple[Spread, int]]] = {size_label(size): [] for size in workload.sizes}
    for group in context.groups:
        with start_processes(group, context.model, context.canvas) as processes:
            for size in workload.sizes:
                files = context.photos(size)
                context.show(f"single images, {size_label(size)}, {group.name}")
                found[size_label(size)].append(_measure_one(processes[0], files, workload.repeats))
    return Section(
        key="single",
        title="Tables 1 and 2: one image",
        text=(
            "Decode, upload, infer and encode one image after the other, on the first device while the others are "
            "idle. More devices therefore make no single image faster, and on a CPU each worker has only its share of "
            f"the cores. {workload.repeats} repeats over different photos after a warm-up; median, lowest and highest.",
        ),
        tables=(_latency(context, found), _memory(context, found)),
        charts=(_latency_chart(context, found),),
    )


def _measure_one(process: EngineProcess, files: list[str], repeats: int) -> tuple[Spread, int]:
    answer = process.ask("single", files=files, repeats=repeats)
    return spread([1000 * seconds for seconds in answer["wall"]]), int(answer["peak"])


def _latency(context: BenchContext, found: Found) -> Table:
    rows = [
        (size, *(time for time, _ in cells), *article_cells(MILLISECONDS.get(size))) for size, cells in found.items()
    ]
    return Table(
        name="table1",
        title="Table 1: one image, without loading the model",
        columns=columns(context, "size", "ms"),
        rows=tuple(rows),
    )


def _memory(context: BenchContext, found: Found) -> Table:
    rows = [
        (size, *(peak / 1e9 for _, peak in cells), *article_cells(GIGABYTES.get(size))) for size, cells in found.items()
    ]
    note = (
        "Peak resident memory of the worker's process, including Python and torch."
        if context.on_cpu
        else "Peak memory reserved by torch's allocator on the GPU."
    )
    return Table(
        name="table2",
        title="Table 2: peak memory of each device",
        columns=columns(context, "size", "GB"),
        rows=tuple(rows),
        note=note,
    )


def _latency_chart(context: BenchContext, found: Found) -> Chart:
    bars = [
        Series.of(group.name, [cells[index][0] for cells in found.values()])
        for index, group in enumerate(context.groups)
    ]
    return Chart(
        name="single",
        title="One image, without loading the model: median, lowest and highest",
        kind="bar",
        x=tuple(found),
        x_label="picture",
        y_label="ms",
        series=tuple(bars),
    )
