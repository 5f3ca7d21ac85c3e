"""Section `processes`: one process per device, against one process for all, pipelined or in lockstep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.device_groups import DeviceGroup
from watcher.commands.bench.engine.engine_process import ask_all, start_processes
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import ratios, spread
from watcher.commands.bench.workload import size_label

MODES = {
    "processes": "one process per device",
    "pipelined": "one process, pipelined",
    "lockstep": "one process, in lockstep (DataParallel)",
}
"""How devices can be served: the task that does it, or `processes`, and a description."""
BATCH = 4
"""Images in a batch on each device."""
Rates = dict[str, list[float]]
"""Images a second of each repeat, by mode and number of devices."""


def measure(context: BenchContext) -> Section:
    """Measure every mode on one device and on several. On a CPU a device is one core, and other cores stay idle."""
    files, most = context.photos(context.workload.square), device_count(context)
    counts = (1, most) if most > 1 else (1,)
    rates: Rates = {f"{mode} {count}": [] for mode in MODES for count in counts}
    with _ModeRunner(context, most, files) as runner:
        for repeat in range(context.workload.process_repeats):
            for count in counts:
                for mode in MODES:
                    context.show(f"{MODES[mode]}, {count} devices, repeat {repeat + 1}")
                    rates[f"{mode} {count}"].append(runner.run(mode, count))
    return _section(context, rates, counts)


def device_count(context: BenchContext) -> int:
    """Largest number of devices: at most 2 cores on a CPU, because the article had two GPUs; all GPUs otherwise."""
    if context.on_cpu:
        return min(2, context.whole_cores)
    return max(len(group) for group in context.groups)


class _ModeRunner(ExitStack):
    """Holds the processes of all modes open; a process uses no CPU time until it is given a task."""

    def __init__(self, context: BenchContext, most: int, files: list[str]) -> None:
        super().__init__()
        self._devices = max(context.groups, key=len).devices[:most] if not context.on_cpu else ("cpu",) * most
        self._cores = sorted(os.sched_getaffinity(0))[:most] if context.on_cpu else []
        self._threads = 1 if context.on_cpu else max(1, context.whole_cores // most)
        self._files, self._images = files, context.workload.process_images
        each = [(core,) for core in self._cores]
        groups = (
            (DeviceGroup("each", self._devices, self._threads), each),
            (DeviceGroup("one", self._devices[:1], self._threads), ()),
        )
        self._many, [self._one] = (
            self.enter_context(start_processes(group, context.model, context.canvas, cores)) for group, cores in groups
        )
        ask_all(self._many, "prepare", batch=BATCH)
        ask_all(self._many, "stream", files=files, count=BATCH, batch=BATCH)

    def run(self, mode: str, count: int) -> float:
        """Images a second of `count` devices in one mode."""
        images = self._images * count
        if mode == "processes":
            options = {"files": self._files, "count": self._images, "batch": BATCH}
            return images / ask_all(self._many[:count], "stream", **options)[0]
        answer = self._one.ask(
            mode,
            files=self._files,
            count=images,
            devices=list(self._devices[:count]),
            threads=self._threads,
            batch=BATCH * (count if mode == "lockstep" else 1),
            cores=self._cores[:count],
        )
        return float(images / answer["seconds"])


def _section(context: BenchContext, rates: Rates, counts: tuple[int, ...]) -> Section:
    most, unit = counts[-1], "core" if context.on_cpu else "GPU"
    rows: list[tuple[Cell, ...]] = []
    for mode, label in MODES.items():
        one, many = rates[f"{mode} 1"], rates[f"{mode} {most}"]
        against = ratios(rates[f"processes {most}"], many)
        rows.append((label, spread(one), spread(many), ratios(many, one) if most > 1 else None, against))
    columns = ("", f"1 {unit}, img/s", f"{most} {unit}s, img/s", "gain", "speed-up of one process per device")
    table = Table(
        name="processes",
        title=f"{size_label(context.workload.square)} JPEGs, batches of {BATCH} per device",
        columns=columns,
        rows=tuple(rows),
        note="In the article the second GPU gained a factor of 1.88 under DataParallel in table 3, 1.28 in table 4.",
    )
    return Section(
        key="processes",
        title="One process per device, or one for all",
        text=(
            "alphadrop gives every device a process of its own. In one process for all devices, threads share Python's "
            "interpreter lock. In lockstep, as with DataParallel, each batch is decoded, split over the devices, "
            f"waited for and encoded before the next one begins. Each {unit} processes the same number of images, and "
            "the modes alternate within each repeat.",
        ),
        tables=(table,),
        charts=(_chart(rates, counts, unit),),
    )


def _chart(rates: Mapping[str, list[float]], counts: tuple[int, ...], unit: str) -> Chart:
    bars = [
        Series.of(f"{count} {unit}{'s' * (count > 1)}", [spread(rates[f"{mode} {count}"]) for mode in MODES])
        for count in counts
    ]
    return Chart(
        name="processes",
        title="One process per device, or one for all",
        kind="bar",
        x=("one process\nper device", "one process,\npipelined", "one process,\nin lockstep"),
        x_label="",
        y_label="images a second",
        series=tuple(bars),
    )
