"""Section `batches`: table 4 of the reference article, throughput by batch size."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.commands.bench.article import BATCH_RATE, article_cells, columns
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.device_groups import DeviceGroup
from watcher.commands.bench.engine.engine_process import EngineProcess, EngineProcessFailed, ask_all, start_processes
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import number
from watcher.commands.bench.workload import size_label

WARM_UP = 4
"""Images before those that count: the engine has run each shape already, these touch the memory of the codecs."""
Found = list[tuple[Cell, float | None]]
"""For each batch size the cell of the table, and images a second where they were measured."""


def measure(context: BenchContext) -> Section:
    """Measure images a second by batch size, including decoding and encoding."""
    workload = context.workload
    files = context.photos(workload.square)
    found = [_by_batch(context, group, files) for group in context.groups]
    rows = [
        (batch, *(cells[index][0] for cells in found), *article_cells(BATCH_RATE.get(batch)))
        for index, batch in enumerate(workload.batches)
    ]
    table = Table(
        name="table4",
        title="Table 4: images a second by batch size",
        columns=columns(context, "batch", "img/s"),
        rows=tuple(rows),
        note="Where memory runs out, the engine halves its batch and goes on; the rate in parentheses is with the "
        "smaller batch. Above a batch of 32 the article ran out of memory.",
    )
    chart = Chart(
        name="batches",
        title="Throughput by batch size, codecs included",
        kind="line",
        x=tuple(map(str, workload.batches)),
        x_label="images in a batch",
        y_label="images a second, all devices",
        series=tuple(
            Series(label=group.name, values=tuple(rate for _, rate in cells))
            for group, cells in zip(context.groups, found, strict=True)
        ),
    )
    text = (
        f"{size_label(workload.square)} JPEGs from a file's bytes to the cut-out's bytes. At each batch size "
        f"{workload.batch_images} images, but at least one batch per device, with as many in flight as in a worker of "
        "the daemon; the engine is warm."
    )
    return Section(key="batches", title="Table 4: batch sizes", text=(text,), tables=(table,), charts=(chart,))


def _by_batch(context: BenchContext, group: DeviceGroup, files: list[str]) -> Found:
    """Measure every batch size; processes that the system ended for lack of memory are started again."""
    found: Found = []
    left = list(context.workload.batches)
    while left:
        try:
            with start_processes(group, context.model, context.canvas) as processes:
                while left:
                    context.show(f"batches of {left[0]}, {group.name}")
                    count = max(left[0], context.workload.batch_images // len(group))
                    found.append(_measure_batch(processes, files, left[0], count))
                    left.pop(0)
        except EngineProcessFailed as error:  # the kernel kills a process that takes too much memory
            found.append((f"out of memory ({error})", None))
            left.pop(0)
    return found


def _measure_batch(processes: Sequence[EngineProcess], files: list[str], batch: int, count: int) -> tuple[Cell, float]:
    ask_all(processes, "prepare", batch=batch)
    _, warm_up = ask_all(processes, "stream", files=files, count=min(batch, WARM_UP), batch=batch)
    seconds, answers = ask_all(processes, "stream", files=files, count=count, batch=batch)
    rate = count * len(processes) / seconds
    ran_out = any(answer["out_of_memory"] for answer in (*warm_up, *answers))
    return (f"out of memory ({number(rate)} with smaller batches)" if ran_out else rate), rate
