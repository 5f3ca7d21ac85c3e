"""One process for each device, against one process for all of them, pipelined or in DataParallel's lockstep."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

from watcher.commands.bench.children import Setup, ask_all, children
from watcher.commands.bench.plan import Bench, name
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import ratios, spread

WAYS = {
    "processes": "one process per device",
    "together": "one process, pipelined",
    "lockstep": "one process, in lockstep (DataParallel)",
}
Rates = dict[str, list[float]]
"""Images a second, one of each repeat, by how many devices and in which way."""


def compare(bench: Bench) -> Section:
    """On a CPU a device is one core, no other is used; on cards it is the first one, then all of them."""
    files, most = bench.photos(bench.plan.square), device_count(bench)
    counts = (1, most) if most > 1 else (1,)
    rates: Rates = {f"{way} {count}": [] for way in WAYS for count in counts}
    with _Stage(bench, most, files) as stage:
        for repeat in range(bench.plan.process_repeats):
            for count in counts:
                for way in WAYS:
                    bench.say(f"{WAYS[way]}, {count} devices, repeat {repeat + 1}")
                    rates[f"{way} {count}"].append(stage.run(way, count))
    return _section(bench, rates, counts)


def device_count(bench: Bench) -> int:
    """Cores on a CPU, 2 at the most, as the article had two cards; else the cards."""
    if bench.on_cpu:
        return min(2, bench.whole_cores)
    return max(len(setup) for setup in bench.setups)


class _Stage(ExitStack):
    """The processes of all ways, of which only those that are asked use any CPU time."""

    def __init__(self, bench: Bench, most: int, files: list[str]) -> None:
        super().__init__()
        self._devices = max(bench.setups, key=len).devices[:most] if not bench.on_cpu else ("cpu",) * most
        self._cores = sorted(os.sched_getaffinity(0))[:most] if bench.on_cpu else []
        self._threads = 1 if bench.on_cpu else max(1, bench.whole_cores // most)
        self._files, self._images = files, bench.plan.process_images
        each = [(core,) for core in self._cores]
        setups = (
            (Setup("each", self._devices, self._threads), each),
            (Setup("one", self._devices[:1], self._threads), ()),
        )
        self._many, [self._one] = (
            self.enter_context(children(setup, bench.model, bench.canvas, cores)) for setup, cores in setups
        )
        ask_all(self._many, "prepare", batch=_BATCH)
        ask_all(self._many, "stream", files=files, count=_BATCH, batch=_BATCH)

    def run(self, way: str, count: int) -> float:
        """Images a second of so many devices."""
        images = self._images * count
        if way == "processes":
            options = {"files": self._files, "count": self._images, "batch": _BATCH}
            return images / ask_all(self._many[:count], "stream", **options)[0]
        answer = self._one.ask(
            way,
            files=self._files,
            count=images,
            devices=list(self._devices[:count]),
            threads=self._threads,
            batch=_BATCH * (count if way == "lockstep" else 1),
            cores=self._cores[:count],
        )
        return float(images / answer["seconds"])


_BATCH = 4
"""Images in a batch on each device."""


def _section(bench: Bench, rates: Rates, counts: tuple[int, ...]) -> Section:
    most, unit = counts[-1], "core" if bench.on_cpu else "card"
    rows: list[tuple[Cell, ...]] = []
    for way, words in WAYS.items():
        one, many = rates[f"{way} 1"], rates[f"{way} {most}"]
        against = ratios(rates[f"processes {most}"], many)
        rows.append((words, spread(one), spread(many), ratios(many, one) if most > 1 else None, against))
    columns = ("", f"1 {unit}, img/s", f"{most} {unit}s, img/s", "gain", "how much faster one process per device is")
    table = Table(
        name="processes",
        title=f"{name(bench.plan.square)} JPEGs, batches of {_BATCH} a device",
        columns=columns,
        rows=tuple(rows),
        note="The article's second GPU gained it 1.88 under DataParallel in table 3, and 1.28 at most in table 4.",
    )
    return Section(
        key="processes",
        title="One process per device, or one for all",
        text=(
            "Alphadrop gives every device a process. In one process for all, threads share Python's lock; in "
            "lockstep, as DataParallel has it, each batch is decoded, split over the devices, waited for and encoded "
            f"before the next one begins. Each {unit} does the same number of images. The ways alternate within each "
            "repeat.",
        ),
        tables=(table,),
        charts=(_chart(rates, counts, unit),),
    )


def _chart(rates: Mapping[str, list[float]], counts: tuple[int, ...], unit: str) -> Chart:
    bars = [
        Series.of(f"{count} {unit}{'s' * (count > 1)}", [spread(rates[f"{way} {count}"]) for way in WAYS])
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
