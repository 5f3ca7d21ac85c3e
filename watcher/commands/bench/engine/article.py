"""The seed article's tables 1, 2 and 4 on this machine, beside the article's own figures. Table 3 needs the daemon.

The article measured an A100 with 40 GB, alone and as one of two under DataParallel. Which pictures tables 3 and 4 are
of follows from its figures: 1 / 2.35 s is 0.42 images/s, 1920x1080; 1 / 1.42 s is 0.70 images/s, 800x800.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from watcher.commands.bench.children import ChildDied, ChildProcess, Setup, ask_all, children
from watcher.commands.bench.plan import Bench, name
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, number, spread

Pair = tuple[float, float]
"""One GPU, two GPUs."""

MILLISECONDS: Mapping[str, Pair] = {"800x800": (1420, 1380), "1200x1200": (1960, 1890), "1920x1080": (2350, 2240)}
GIGABYTES: Mapping[str, Pair] = {"800x800": (5.2, 4.9), "1200x1200": (6.1, 5.8), "1920x1080": (7.3, 7.0)}
FOLDER_SECONDS: Pair = (1180, 635)
FOLDER_RATE: Pair = (0.42, 0.79)
BATCH_RATE: Mapping[int, Pair] = {
    1: (0.70, 0.72),
    2: (0.75, 0.80),
    4: (0.82, 0.90),
    8: (0.85, 1.05),
    16: (0.88, 1.12),
    32: (0.90, 1.15),
}
"""Past 32 the article ran out of memory."""
WARM_UP = 4
"""Images before those that count: the engine has run each shape already, these touch the codecs' memory."""


def theirs(pair: Pair | None) -> tuple[Cell, Cell]:
    """The article's two cells."""
    return pair or (None, None)


def single_images(bench: Bench) -> Section:
    """Tables 1 and 2: one image at a time, from a file's bytes to the cut-out's bytes, loading excluded."""
    found: dict[str, list[tuple[Spread, int]]] = {name(size): [] for size in bench.plan.sizes}
    for setup in bench.setups:
        with children(setup, bench.model, bench.canvas) as processes:
            for size in bench.plan.sizes:
                files = bench.photos(size)
                bench.say(f"single images, {name(size)}, {setup.name}")
                found[name(size)].append(_single(processes[0], files, bench.plan.repeats))
    return Section(
        key="single",
        title="Tables 1 and 2: one image",
        text=(
            "Decode, upload, infer, encode, one image after the other, on the first device while the others idle: so "
            "more devices make no single image faster, and on a CPU each has but its share of the cores. "
            f"{bench.plan.repeats} repeats over different photos after a warm-up; median, lowest and highest.",
        ),
        tables=(_latency(bench, found), _memory(bench, found)),
        charts=(_latency_chart(bench, found),),
    )


def _single(process: ChildProcess, files: list[str], repeats: int) -> tuple[Spread, int]:
    answer = process.ask("single", files=files, repeats=repeats)
    return spread([1000 * seconds for seconds in answer["wall"]]), int(answer["peak"])


Singles = Mapping[str, Sequence[tuple[Spread, int]]]


def _columns(bench: Bench, first: str, unit: str) -> tuple[str, ...]:
    return (
        first,
        *(f"{setup.name}, {unit}" for setup in bench.setups),
        f"article 1 GPU, {unit}",
        f"article 2 GPUs, {unit}",
    )


def _latency(bench: Bench, found: Singles) -> Table:
    rows = [(size, *(time for time, _ in cells), *theirs(MILLISECONDS.get(size))) for size, cells in found.items()]
    return Table(
        name="table1",
        title="Table 1: one image, load excluded",
        columns=_columns(bench, "size", "ms"),
        rows=tuple(rows),
    )


def _memory(bench: Bench, found: Singles) -> Table:
    rows = [(size, *(peak / 1e9 for _, peak in cells), *theirs(GIGABYTES.get(size))) for size, cells in found.items()]
    what = (
        "On a CPU: the most main memory that the worker's process held, with Python and torch in it."
        if bench.on_cpu
        else "The most that torch's allocator had reserved on the card."
    )
    return Table(
        name="table2",
        title="Table 2: peak memory of each device",
        columns=_columns(bench, "size", "GB"),
        rows=tuple(rows),
        note=what,
    )


def _latency_chart(bench: Bench, found: Singles) -> Chart:
    bars = []
    for index, setup in enumerate(bench.setups):
        times = [cells[index][0] for cells in found.values()]
        bars.append(Series.of(setup.name, times))
    return Chart(
        name="single",
        title="One image, load excluded: median, lowest and highest",
        kind="bar",
        x=tuple(found),
        x_label="picture",
        y_label="ms",
        series=tuple(bars),
    )


def batch_sizes(bench: Bench) -> Section:
    """Table 4: images a second by batch size, codecs included."""
    files = bench.photos(bench.plan.square)
    found = [_by_batch(bench, setup, files) for setup in bench.setups]
    rows = []
    for index, batch in enumerate(bench.plan.batches):
        rows.append((batch, *(cells[index][0] for cells in found), *theirs(BATCH_RATE.get(batch))))
    table = Table(
        name="table4",
        title="Table 4: images a second by batch size",
        columns=_columns(bench, "batch", "img/s"),
        rows=tuple(rows),
        note="Where memory runs out, the engine halves its batch and goes on; the rate behind it is the one with that. "
        "Past a batch of 32 the article ran out of memory.",
    )
    lines = [
        Series(label=setup.name, values=tuple(rate for _, rate in cells))
        for setup, cells in zip(bench.setups, found, strict=True)
    ]
    chart = Chart(
        name="batches",
        title="Throughput by batch size, codecs included",
        kind="line",
        x=tuple(map(str, bench.plan.batches)),
        x_label="images in a batch",
        y_label="images a second, all devices",
        series=tuple(lines),
    )
    text = (
        f"{name(bench.plan.square)} JPEGs from bytes to bytes, {bench.plan.batch_images} or at least one batch for "
        "each device at each size, as many in flight as a worker of the daemon has; the engine is warm."
    )
    return Section(key="batches", title="Table 4: batch sizes", text=(text,), tables=(table,), charts=(chart,))


def _by_batch(bench: Bench, setup: Setup, files: list[str]) -> list[tuple[Cell, float | None]]:
    """For each batch size what stands in the table, and the rate; processes that die are replaced."""
    found: list[tuple[Cell, float | None]] = []
    left = list(bench.plan.batches)
    while left:
        try:
            with children(setup, bench.model, bench.canvas) as processes:
                while left:
                    bench.say(f"batches of {left[0]}, {setup.name}")
                    count = max(left[0], bench.plan.batch_images // len(setup))
                    found.append(_batch(processes, files, left[0], count))
                    left.pop(0)
        except ChildDied as death:  # the system ends a process that takes too much
            found.append((f"out of memory ({death})", None))
            left.pop(0)
    return found


def _batch(processes: Sequence[ChildProcess], files: list[str], batch: int, count: int) -> tuple[Cell, float]:
    ask_all(processes, "prepare", batch=batch)
    _, before = ask_all(processes, "stream", files=files, count=min(batch, WARM_UP), batch=batch)
    seconds, answers = ask_all(processes, "stream", files=files, count=count, batch=batch)
    rate = count * len(processes) / seconds
    ran_out = any(answer["out_of_memory"] for answer in (*before, *answers))
    return (f"out of memory ({number(rate)} with less)" if ran_out else rate), rate
