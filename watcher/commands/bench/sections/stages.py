"""Section `stages`: what each stage costs per image, by format and by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import EngineProcess, start_processes
from watcher.commands.bench.engine.stage_times import CODECS, CPU, STAGES, WALL, Runs, measure_stages, medians, total
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.workload import FORMATS, size_label

ROUNDS = 2
"""How often plain torch and the compiled kernels take turns."""
LARGE = 3e6
"""Pixels above which pictures are measured one at a time, and only two are drawn, because drawing takes long."""


def measure(context: BenchContext) -> Section:
    """Measure by stage and format at one size, and by size for JPEGs."""
    workload, by_format, by_size = context.workload, {}, {}
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        for format in FORMATS:
            files = context.photos(workload.hd, format=format)
            by_format[format] = measure_stages(context, process, files, format)
        for size in workload.stage_sizes:
            by_size[size_label(size)] = _measure_size(context, process, size)
        plain = _measure_plain(context, process) if context.on_cpu else None
    hd = size_label(workload.hd)
    tables = [_format_table(hd, by_format), _size_table(workload.stage_sizes, by_size)]
    if plain is not None:
        tables.append(_kernels_table(hd, *plain))
    return Section(
        key="stages",
        title="Cost of each stage",
        text=(
            f"Each stage by itself, with nothing else running, in batches of {workload.stage_batch}: wall time, and "
            f"CPU time of all threads ({context.first_group.threads} for the model). `resize, copy` is what the device "
            "thread does between the named steps.",
        ),
        tables=tuple(tables),
        charts=(
            _chart("stages", f"CPU time of one {hd} image by format", by_format),
            _chart("sizes", "CPU time of one JPEG by size", {size: found["runs"] for size, found in by_size.items()}),
        ),
    )


def _measure_size(context: BenchContext, process: EngineProcess, size: tuple[int, int]) -> dict[str, Any]:
    large = size[0] * size[1] > LARGE
    files = context.photos(size, 2 if large else context.workload.distinct)
    context.show(f"stages, {size_label(size)}")
    batch = 1 if large else context.workload.stage_batch
    return process.ask("stages", files=files, batch=batch, repeats=context.workload.repeats)


def _measure_plain(context: BenchContext, process: EngineProcess) -> tuple[Runs, Runs]:
    """JPEGs with plain torch, and with the compiled kernels, in turn: a busy machine is slow for both."""
    files, workload = context.photos(context.workload.hd), context.workload
    context.show("stages, with plain torch in turn")
    plain: list[Mapping[str, tuple[float, float]]] = []
    compiled: list[Mapping[str, tuple[float, float]]] = []
    for _ in range(ROUNDS):
        for task, runs in (("plain_stages", plain), ("stages", compiled)):
            runs += process.ask(task, files=files, batch=workload.stage_batch, repeats=workload.repeats)["runs"]
    return plain, compiled


def _kernels_table(size: str, plain: Runs, compiled: Runs) -> Table:
    before, after = (
        {stage: 1000 * seconds for stage, seconds in medians(runs, CPU).items()} for runs in (plain, compiled)
    )
    rows: list[tuple[Cell, ...]] = [
        (stage, before[stage], after[stage], before[stage] / after[stage] if after[stage] > 0 else None)
        for stage in STAGES
    ]
    whole = sum(before.values()), sum(after.values())
    return Table(
        name="kernels",
        title=f"CPU milliseconds per {size} JPEG with plain torch and with the compiled kernels",
        columns=("stage", "plain torch", "compiled kernels", "ratio"),
        rows=(*rows, ("all", *whole, whole[0] / whole[1])),
        note="Medians of runs in turn. Where the kernels cannot be used, both columns are of plain torch.",
    )


def _format_table(size: str, by_format: Mapping[str, Runs]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for stage in STAGES:
        times = [1000 * medians(runs, kind)[stage] for runs in by_format.values() for kind in (WALL, CPU)]
        rows.append((stage, *times))
    rows.append(("all", *(total(runs, kind) for runs in by_format.values() for kind in (WALL, CPU))))
    return Table(
        name="stages",
        title=f"Milliseconds per {size} image, by stage",
        columns=("stage", *(f"{format} {kind}" for format in by_format for kind in ("wall", "CPU"))),
        rows=tuple(rows),
    )


def _size_table(sizes: Sequence[tuple[int, int]], by_size: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for (width, height), (label, found) in zip(sizes, by_size.items(), strict=True):
        wall = total(found["runs"], WALL)
        cpu = medians(found["runs"], CPU)
        device = sum(cpu[stage] for stage in STAGES if stage not in CODECS)
        megapixels = width * height / 1e6
        cells = (wall, total(found["runs"], CPU), 1000 * cpu["decode"], 1000 * device, 1000 * cpu["encode"])
        rows.append((label, *cells, wall.median / megapixels, found["peak"] / 1e9))
    return Table(
        name="sizes",
        title="JPEGs by size: milliseconds per image",
        columns=(
            "size",
            "wall",
            "CPU",
            "decode, CPU",
            "device steps, CPU",
            "encode, CPU",
            "wall per megapixel",
            "peak GB",
        ),
        rows=tuple(rows),
        note="Peak memory: resident set of the worker's process on a CPU, memory reserved by torch on a GPU.",
    )


def _chart(name: str, title: str, found: Mapping[str, Runs]) -> Chart:
    return Chart(
        name=name,
        title=title,
        kind="stack",
        x=tuple(found),
        x_label="",
        y_label="CPU ms per image",
        series=tuple(
            Series(label=stage, values=tuple(1000 * medians(runs, CPU)[stage] for runs in found.values()))
            for stage in STAGES[1:]
        ),
    )
