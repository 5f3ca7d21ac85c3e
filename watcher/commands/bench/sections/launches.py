"""Section `launches`: what the steps of a batch launch on a card, and how often the host waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.report import Section, Table
from watcher.commands.bench.workload import size_label

BATCHES = (1, 8)
STEPS = ("upload", "canvas", "coarse", "pyramid", "edge head", "lifting", "decontamination", "cut-out")
"""In the order of the work. The PNG filter is missing: it runs in the threads of the codecs, and launches nothing."""


def measure(context: BenchContext) -> Section:
    """Count at batches of 1 and 8."""
    files = context.photos(context.workload.hd, count=4)
    found = {}
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        for batch in BATCHES:
            context.show(f"launches, batch of {batch}")
            found[batch] = process.ask("launches", files=files, batch=batch)
    label = size_label(context.workload.hd)
    return Section(
        key="launches",
        title="Kernel launches",
        text=(
            "One thread launches all kernels of a card, a few microseconds each, and waits where it must know a number "
            "that the card has computed. Operations of torch are counted by step; without a card, those of a card's "
            "path run on the CPU.",
        ),
        tables=(_table(label, found),),
        findings=tuple(_finding(label, batch, counts) for batch, counts in found.items()),
    )


def _table(label: str, found: Mapping[int, Mapping[str, Any]]) -> Table:
    rows = [(step, *_cells(found, step)) for step in STEPS]
    rows.append(("copies", *(cell for batch in found for cell in (2 * batch, 2.0, 0))))
    rows.append(("PNG filter", *(cell for _ in found for cell in (0, 0.0, 0))))
    rows.append(("all", *(cell for batch, counts in found.items() for cell in total(batch, counts))))
    return Table(
        name="launches",
        title=f"{label} pictures, one batch",
        columns=(
            "step",
            *(f"batch of {batch}, {what}" for batch in found for what in ("launches", "a picture", "waits")),
        ),
        rows=tuple(rows),
        note="Where CUDA graphs are used, the coarse step is one launch for each batch instead. `copies` are the "
        "transfers of each picture and back. The PNG filter runs in the threads of the codecs.",
    )


def _cells(found: Mapping[int, Mapping[str, Any]], step: str) -> list[int | float]:
    cells: list[int | float] = []
    for batch, counts in found.items():
        launches = counts["launches"].get(step, 0)
        cells += [launches, launches / batch, counts["waits"].get(step, 0)]
    return cells


def total(batch: int, counts: Mapping[str, Any]) -> tuple[int, float, int]:
    """Launches of a batch with its copies, launches a picture, and how often the host waits."""
    launches = sum(counts["launches"].values()) + 2 * batch
    return launches, launches / batch, sum(counts["waits"].values())


def _finding(label: str, batch: int, counts: Mapping[str, Any]) -> str:
    launches, each, waits = total(batch, counts)
    return (
        f"A batch of {batch} {label} pictures takes {launches} launches, {each:.0f} a picture, and the host waits "
        f"{waits} times."
    )
