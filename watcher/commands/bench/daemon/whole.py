"""What only the daemon as a whole can show: table 3, how near it comes to its ceiling, and many devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from watcher.commands.bench.children import Setup
from watcher.commands.bench.daemon.overhead import Overhead, overhead
from watcher.commands.bench.daemon.run_once import Once, Ran, run_once
from watcher.commands.bench.daemon.steady import RunOnce, Steady, runner, steady
from watcher.commands.bench.engine.article import FOLDER_RATE, FOLDER_SECONDS
from watcher.commands.bench.engine.ceiling import Ceiling, ceiling, stage_limits
from watcher.commands.bench.engine.stages import busy_costs, device_costs
from watcher.commands.bench.pictures import encoded, spread_out
from watcher.commands.bench.plan import Bench, name
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import number

SMALL = (96, 72)
"""Width and height of the pictures for simulated devices, which are to cost nothing."""


@dataclass
class Folder:
    """Runs of the daemon over one folder, each made once, whoever asks for it."""

    bench: Bench
    _runs: dict[str, Ran] = field(default_factory=dict)

    def run(self, setup: Setup) -> Ran:
        """Table 3's folder on these devices."""
        if setup.name not in self._runs:
            bench = self.bench
            source = self.source()
            bench.say(f"the daemon over {bench.plan.folder_images} images, {setup.name}")
            how = Once(",".join(setup.devices), bench.model, bench.canvas, bench.plan.folder_batch)
            self._runs[setup.name] = run_once(source, bench.work / "once", how)
        return self._runs[setup.name]

    def source(self) -> Path:
        """The folder; made when it is first asked for."""
        source = self.bench.work / "folder"
        if not source.exists():
            photos = [Path(path) for path in self.bench.photos(self.bench.plan.hd)]
            spread_out(photos, source, self.bench.plan.folder_images)
        return source


def folder(bench: Bench, runs: Folder) -> Section:
    """Table 3."""
    plan, found = bench.plan, {setup.name: runs.run(setup) for setup in bench.setups}
    first, *others = found.values()
    rows: list[tuple[Cell, ...]] = [
        ("seconds", *(ran.seconds for ran in found.values()), *FOLDER_SECONDS),
        ("images a second", *(ran.rate for ran in found.values()), *FOLDER_RATE),
        ("gain", None, *(gain(ran, first) for ran in others), None, "+88.1 %"),
        ("CPU seconds an image", *(ran.cpu / ran.images for ran in found.values()), None, None),
        ("largest process, GB", *(ran.peak / 1e9 for ran in found.values()), None, None),
    ]
    table = Table(
        name="table3",
        title=f"Table 3: {plan.folder_images} images, batch {plan.folder_batch}",
        columns=("", *found, "article 1 GPU", "article 2 GPUs"),
        rows=tuple(rows),
        note="The article's 500 images took 1180 s and 635 s."
        + ("" if plan.folder_images == 500 else f" Here they are {plan.folder_images}: compare images a second."),
    )
    text = (
        f"`alphadrop once` over a folder of {name(plan.hd)} JPEGs, with its queue, its flushed writes and its "
        "metrics, from the moment at which a worker is ready to the last output. On a CPU, two workers share the "
        "cores that one has alone."
    )
    return Section(key="folder", title="Table 3: a folder through the daemon", text=(text,), tables=(table,))


def gain(ran: Ran, first: Ran) -> str:
    """In the article's words."""
    return f"{100 * (ran.rate / first.rate - 1):+.1f} %"


def daemon(bench: Bench) -> Section:
    """The ceiling, how near the daemon comes to it, and what it spends besides."""
    files = bench.photos(bench.plan.hd)
    if bench.on_cpu:
        costs, device, count = busy_costs(bench, files), 0.0, 1
    else:
        costs, device = device_costs(bench, files)
        count = len(bench.setups[-1])
    bench.say("queue and metrics alone")
    beside = overhead(bench.work / "overhead", bench.plan.overhead_jobs)
    found = {setup.name: _at_work(bench, setup, files) for setup in bench.setups}
    tops = {setup.name: ceiling(costs, bench.cores, device, len(setup) if count > 1 else 1) for setup in bench.setups}
    rates = {setup: (one.rate, tops[setup].rate) for setup, one in found.items()}
    findings = [
        f"{setup}: {number(rate)} img/s, {100 * rate / top:.1f} % of the ceiling of {number(top)} img/s."
        for setup, (rate, top) in rates.items()
    ]
    share = max(beside.cpu / one.cpu for one in found.values())
    findings.append(f"Queue, ledger and metrics together take {100 * share:.2f} % of the CPU time of an image.")
    return Section(
        key="daemon",
        title="The ceiling, and the daemon below it",
        text=(
            "The ceiling is what the cores could do if they did nothing but the stages: the CPU time of every stage, "
            "measured in one process with one thread on each core, all cores busy, nothing shared, nothing flushed. "
            "The daemon does the same work with a queue, flushed writes, batches and metrics around it, over "
            f"{max(one.ran.images for one in found.values())} images; its rate is that while all workers have work.",
        ),
        findings=tuple(findings),
        tables=(_limits(bench, costs, device), _near(found, tops, sum(costs.values())), _beside(beside, found)),
        charts=(_near_chart(rates),),
    )


def _at_work(bench: Bench, setup: Setup, files: Sequence[str]) -> Steady:
    """The daemon as it is, but for its devices."""

    def source(images: int) -> Path:
        folder = bench.work / f"daemon-{images}"
        return folder if folder.exists() else spread_out([Path(file) for file in files], folder, images)

    bench.say(f"the daemon at work, {setup.name}")
    images = bench.plan.daemon_images
    how = Once(",".join(setup.devices), bench.model, bench.canvas)
    return steady(runner(bench), source, how, images, images // (4 * len(setup)))


def _limits(bench: Bench, costs: Mapping[str, float], device: float) -> Table:
    limits = stage_limits(costs, bench.cores)
    rows: list[tuple[Cell, ...]] = [
        (stage, 1000 * seconds, limits[stage] if seconds > 0 else None) for stage, seconds in costs.items()
    ]
    rows.append(("all", 1000 * sum(costs.values()), bench.cores / sum(costs.values())))
    if device > 0:
        rows.append(("the device itself", 1000 * device, 1 / device))
    return Table(
        name="ceiling",
        title=f"What {bench.cores:g} cores could do of each stage, and of all",
        columns=("stage", "CPU ms an image, all cores busy", "img/s, if the cores did nothing else"),
        rows=tuple(rows),
    )


def _near(found: Mapping[str, Steady], tops: Mapping[str, Ceiling], stages: float) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for setup, one in found.items():
        top, milliseconds = tops[setup].rate, (1000 * one.cpu, 1000 * (one.cpu - stages), 1000 * one.supervisor)
        rows.append((setup, one.rate, top, f"{100 * one.rate / top:.1f} %", one.ran.rate, *milliseconds))
    return Table(
        name="near",
        title="The daemon",
        columns=(
            "",
            "img/s",
            "ceiling",
            "share",
            "img/s from ready to the last image",
            "CPU ms an image",
            "of that beyond the stages",
            "of that the supervisor's",
        ),
        rows=tuple(rows),
    )


def _beside(beside: Overhead, found: Mapping[str, Steady]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for what, (wall, cpu) in (("queue and ledger", beside.queue), ("metrics", beside.metrics)):
        rows.append((what, 1e6 * wall, 1e6 * cpu, *_shares(wall, cpu, found)))
    rows.append(("together", 1e6 * beside.wall, 1e6 * beside.cpu, *_shares(beside.wall, beside.cpu, found)))
    names = [
        f"{setup}: {what}" for setup in found for what in ("of the CPU time", "of the time, if nothing overlapped")
    ]
    return Table(
        name="overhead",
        title="Queue, ledger and metrics, alone",
        columns=("", "µs an image", "CPU µs an image", *names),
        rows=tuple(rows),
        note="The queue's calls wait for the disk, while other images go on.",
    )


def _shares(wall: float, cpu: float, found: Mapping[str, Steady]) -> tuple[str, ...]:
    shares = [share for one in found.values() for share in (cpu / one.cpu, wall * one.rate)]
    return tuple(f"{100 * share:.2f} %" for share in shares)


def _near_chart(rates: Mapping[str, tuple[float, float]]) -> Chart:
    return Chart(
        name="daemon",
        title="The daemon and its ceiling",
        kind="bar",
        x=tuple(rates),
        x_label="devices",
        y_label="images a second",
        series=(
            Series(label="the daemon", values=tuple(rate for rate, _ in rates.values())),
            Series(label="ceiling", values=tuple(top for _, top in rates.values())),
        ),
    )


def simulated(bench: Bench, run: RunOnce | None = None) -> Section:
    """Devices that take time and no CPU: what all the rest makes of more of them."""
    plan, rates, spent = bench.plan, {}, {}
    photo = bench.work / "small.jpg"
    photo.write_bytes(encoded(small_picture(), "JPEG"))
    for count in plan.simulated:

        def source(images: int, count: int = count) -> Path:
            bench.say(f"{count} simulated devices, {images} images")
            return spread_out([photo], bench.work / f"simulated-{images}-{count}", images)

        how = Once(f"cpu:{count}", f"fake:delay={plan.simulated_delay}", batch=1, threads=1)
        images = count * plan.simulated_images
        one = steady(run or runner(bench), source, how, images, plan.simulated_images // 2)
        rates[count], spent[count] = one.rate, one.cpu
    return _simulated(bench, rates, spent)


def small_picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A block on a plain background."""
    pixels = np.full((SMALL[1], SMALL[0], 3), 230, np.uint8)
    pixels[20:50, 30:60] = (40, 90, 160)
    return pixels


def _simulated(bench: Bench, rates: Mapping[int, float], spent: Mapping[int, float]) -> Section:
    delay, (first, *_) = bench.plan.simulated_delay, rates
    rows = [
        (count, rate, first * rate / rates[first], f"{100 * rate * delay / count:.1f} %", 1000 * spent[count])
        for count, rate in rates.items()
    ]
    table = Table(
        name="simulated",
        title=f"Simulated devices that take {1000 * delay:.0f} ms for an image",
        columns=("devices", "img/s", "times one device", "of what the devices could do", "CPU ms an image"),
        rows=tuple(rows),
        note=f"Measured while every device has work. A device could do {number(1 / delay)} img/s; all of them ran on "
        f"{bench.cores:g} cores.",
    )
    most = max(rates)
    chart = Chart(
        name="simulated",
        title="Throughput by number of simulated devices",
        kind="line",
        x=tuple(map(str, rates)),
        x_label="devices",
        y_label="images a second",
        series=(Series(label="the daemon", values=tuple(rates.values())),),
        ideal=Series(label="what the devices could do", values=tuple(count / delay for count in rates)),
        log=True,  # numbers of devices double from one to the next, so a straight line is perfect
    )
    return Section(
        key="simulated",
        title="More devices",
        text=(
            "`alphadrop once` with a model that sleeps instead of computing, one worker for each device, on small "
            "pictures: what is lost against one device times their number is lost by everything around the devices.",
        ),
        findings=(f"{most} devices do {first * rates[most] / rates[first]:.2f} times what one does.",),
        tables=(table,),
        charts=(chart,),
    )
