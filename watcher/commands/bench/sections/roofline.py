"""Section `roofline`: how close each step on the device comes to the device's rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.engine.stage_times import STEPS, WALL, medians
from watcher.commands.bench.report import Chart, Section, Series, Table
from watcher.commands.bench.workload import size_label


def lower_bound(flops: float, moved: float, rates: Mapping[str, float]) -> tuple[float, str]:
    """The least seconds that this work can take at these rates, and whether `operations` or `bytes` limit it."""
    limits = {"operations": flops / rates["matmul"], "bytes": moved / rates["copy"]}
    longest = max(limits, key=lambda limit: limits[limit])
    return limits[longest], longest


def measure(context: BenchContext) -> Section:
    """Measure the steps for one picture."""
    file = context.photos(context.workload.hd)[0]
    context.show("roofline")
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        found = process.ask("roofline", file=file, repeats=max(3, context.workload.repeats))
    rates, seconds = found["rates"], medians(found["runs"], WALL)
    return Section(
        key="roofline",
        title="Roofline",
        text=(
            f"This device multiplies matrices at {rates['matmul'] / 1e9:,.0f} GFLOP/s ({context.first_group.threads} "
            f"threads) and copies at {rates['copy'] / 1e9:.1f} GB/s (read plus written), both measured in this run.",
        ),
        tables=(_table(context, found, seconds),),
        charts=(_chart(found, seconds),),
    )


def _table(context: BenchContext, found: Mapping[str, Any], seconds: Mapping[str, float]) -> Table:
    rows = []
    for step in STEPS:
        flops, moved, time = found["flops"].get(step, 0), found["bytes"].get(step, 0), seconds[step]
        least, limit = lower_bound(flops, moved, found["rates"])
        share = f"{100 * least / time:.0f} %" if time > 0 else None
        rows.append((step, flops / 1e9, moved / 1e6, 1000 * time, flops / time / 1e9, moved / time / 1e9, limit, share))
    return Table(
        name="roofline",
        title=f"One {size_label(context.workload.hd)} picture, batch of 1, {found['dtype'].removeprefix('torch.')}",
        columns=("step", "GFLOP", "MB moved", "ms", "GFLOP/s", "GB/s", "limited by", "share of that limit"),
        rows=tuple(rows),
        note="Bytes are counted as if each operation read its inputs from memory and wrote its result there; caches "
        "and fusion may need less, so more than 100 % is possible. On a CPU, work done by numpy is not counted.",
    )


def _chart(found: Mapping[str, Any], seconds: Mapping[str, float]) -> Chart:
    least = tuple(
        1000 * lower_bound(found["flops"].get(step, 0), found["bytes"].get(step, 0), found["rates"])[0]
        for step in STEPS
    )
    return Chart(
        name="roofline",
        title="Each step and its limit",
        kind="bar",
        x=STEPS,
        x_label="",
        y_label="ms",
        series=(
            Series(label="measured", values=tuple(1000 * seconds[step] for step in STEPS)),
            Series(label="limit of the device", values=least),
        ),
    )
