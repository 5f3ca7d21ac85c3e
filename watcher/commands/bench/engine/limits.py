"""The roofline section: how near each step on the device comes to what the device can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher.commands.bench.children import children
from watcher.commands.bench.engine.stages import STEPS, Runs, medians
from watcher.commands.bench.plan import Bench, name
from watcher.commands.bench.report import Chart, Section, Series, Table


def bound(flops: float, moved: float, rates: Mapping[str, float]) -> tuple[float, str]:
    """The seconds that this work takes at least, and which of the two limits it is."""
    limits = {"operations": flops / rates["matmul"], "bytes": moved / rates["copy"]}
    longest = max(limits, key=lambda limit: limits[limit])
    return limits[longest], longest


def roofline(bench: Bench) -> Section:
    """One picture's steps."""
    file = bench.photos(bench.plan.hd)[0]
    bench.say("roofline")
    with children(bench.one, bench.model, bench.canvas) as (process, *_):
        found = process.ask("roofline", file=file, repeats=max(3, bench.plan.repeats))
    return _section(bench, found)


def _section(bench: Bench, found: Mapping[str, Any]) -> Section:
    rates, seconds = found["rates"], medians(_runs(found), 0)
    rows = []
    for step in STEPS:
        flops, moved = found["flops"].get(step, 0), found["bytes"].get(step, 0)
        least, limit = bound(flops, moved, rates)
        time = seconds[step]
        share = f"{100 * least / time:.0f} %" if time > 0 else None
        rows.append((step, flops / 1e9, moved / 1e6, 1000 * time, flops / time / 1e9, moved / time / 1e9, limit, share))
    table = Table(
        name="roofline",
        title=f"One {name(bench.plan.hd)} picture, batch of 1, {found['dtype'].removeprefix('torch.')}",
        columns=("step", "GFLOP", "MB moved", "ms", "GFLOP/s", "GB/s", "limit", "of that limit"),
        rows=tuple(rows),
        note="Bytes as if each operation read its inputs from memory and wrote its result there; where caches or "
        "fusion do with less, more than 100 % of the limit is possible. What numpy does, on a CPU, is not counted.",
    )
    return Section(
        key="roofline",
        title="Roofline",
        text=(
            f"This device multiplies matrices at {rates['matmul'] / 1e9:,.0f} GFLOP/s with {bench.one.threads} "
            f"threads and copies at {rates['copy'] / 1e9:.1f} GB/s (read and written), both measured just now.",
        ),
        tables=(table,),
        charts=(_chart(found, seconds),),
    )


def _runs(found: Mapping[str, Any]) -> Runs:
    runs: Runs = found["runs"]
    return runs


def _chart(found: Mapping[str, Any], seconds: Mapping[str, float]) -> Chart:
    least = tuple(
        1000 * bound(found["flops"].get(step, 0), found["bytes"].get(step, 0), found["rates"])[0] for step in STEPS
    )
    return Chart(
        name="roofline",
        title="Each step against its limit",
        kind="bar",
        x=STEPS,
        x_label="",
        y_label="ms",
        series=(
            Series(label="measured", values=tuple(1000 * seconds[step] for step in STEPS)),
            Series(label="the device's limit", values=least),
        ),
    )
