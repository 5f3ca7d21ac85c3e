"""Section `onnx`: what IO binding and batches are worth for a model in an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from inference.models.registry import resolve
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.report import Cell, Section, Table
from watcher.commands.bench.stats import ratios, spread
from watcher.config.settings import rembg_path

Seconds = Mapping[str, Mapping[str, Sequence[float]]]
"""Of each run, by method and batch size."""


def measure(context: BenchContext) -> Section:
    """Measure every method at every batch size of the workload; nothing for a model that is not an ONNX file."""
    entry = resolve(context.model, context.canvas, folder=rembg_path())
    if entry.kind != "onnx":
        return _section((f"Not measured: {context.model} is not an ONNX file. Try --model u2netp.",))
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        context.show("ONNX, by method and batch size")
        batches = context.workload.sweep_batches
        found: Seconds = process.ask("onnx", batches=list(batches), repeats=context.workload.repeats)
    text = (
        f"The network of {entry.name} alone, without preprocessing and refinement, on "
        f"{entry.canvas} x {entry.canvas} pixels.",
    )
    return _section(text, (methods_table(batches, found),), findings(batches, found))


def _section(text: tuple[str, ...], tables: tuple[Table, ...] = (), findings: tuple[str, ...] = ()) -> Section:
    return Section(key="onnx", title="ONNX models", text=text, tables=tables, findings=findings)


def methods_table(batches: Sequence[int], found: Seconds) -> Table:
    """Pictures a second by method, one row for each batch size."""
    rows: list[tuple[Cell, ...]] = [
        (batch, *(spread([batch / second for second in times[str(batch)]]) for times in found.values()))
        for batch in batches
    ]
    return Table(
        name="onnx", title="img/s by method", columns=("batch", *(f"{name}, img/s" for name in found)), rows=tuple(rows)
    )


def findings(batches: Sequence[int], found: Seconds) -> tuple[str, ...]:
    """How much faster each method is than arrays in main memory, at the largest batch."""
    largest, [(base, slow), *others] = str(max(batches)), found.items()
    return tuple(
        f"Batches of {largest}: {name} is {ratios(slow[largest], times[largest]).median:.2f} times as fast as {base}."
        for name, times in others
    )
