"""Section `daemon`: the throughput ceiling of the stages, and how close the daemon comes to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.daemon.ceiling import Ceiling, stage_limits, throughput_ceiling
from watcher.commands.bench.daemon.overhead import Overhead, measure_overhead
from watcher.commands.bench.daemon.run_once import OnceOptions
from watcher.commands.bench.daemon.steady_state import SteadyState, daemon_runner, measure_steady_state
from watcher.commands.bench.device_groups import DeviceGroup
from watcher.commands.bench.engine.engine_process import ask_all, start_processes
from watcher.commands.bench.engine.stage_times import CPU, device_times, means, measure_stages, medians
from watcher.commands.bench.photos import fill_folder
from watcher.commands.bench.report import Cell, Chart, Section, Series, Table
from watcher.commands.bench.stats import Spread, number, spread
from watcher.commands.bench.workload import Workload

DEVICE_BATCH = 16
"""Batch size at which the time of a GPU is measured."""


@dataclass(frozen=True)
class Round:
    """The ceiling, and the daemon with each group of devices, measured one after the other."""

    costs: Mapping[str, float]
    """CPU seconds per image by stage."""
    device: float
    """Seconds per image for which a GPU is busy; 0 without one."""
    ceilings: Mapping[str, Ceiling]
    """By group, as `states`."""
    states: Mapping[str, SteadyState]

    def share(self, group: str) -> float:
        """Return how many per cent of the ceiling the daemon reaches."""
        return 100 * self.states[group].rate / self.ceilings[group].rate


def measure(context: BenchContext) -> Section:
    """Measure the stages and the daemon with each group of devices in turn, and the overhead."""
    files, workload = context.photos(context.workload.hd), context.workload
    rounds = [_measure_round(context, files) for _ in range(workload.daemon_rounds)]
    shares = {group.name: spread([one.share(group.name) for one in rounds]) for group in context.groups}
    middle = middle_round(rounds, context.groups[-1].name)
    found, ceilings = middle.states, middle.ceilings
    context.show("queue and metrics alone")
    overhead = measure_overhead(context.folder / "overhead", workload.overhead_jobs)
    rates = {group: (state.rate, ceilings[group].rate) for group, state in found.items()}
    findings = [
        f"{group}: {number(rate)} img/s, {shares[group]} % of the ceiling of {number(ceiling)} img/s."
        for group, (rate, ceiling) in rates.items()
    ]
    share = max(overhead.cpu / state.cpu for state in found.values())
    findings.append(f"Queue and metrics together take {100 * share:.2f} % of the CPU time of an image.")
    return Section(
        key="daemon",
        title="The daemon and its throughput ceiling",
        text=(
            "The ceiling is the throughput of the cores if they did nothing but the stages: the CPU time of every "
            "stage, measured in one process with one thread on each core, with all cores busy, nothing shared and "
            "nothing flushed. The daemon does the same work with a queue, flushed writes, batches and metrics, over "
            f"{max(state.run.images for state in found.values())} images; its rate is measured while all workers have "
            f"work. {_turns(len(rounds))}",
        ),
        findings=tuple(findings),
        tables=(
            _ceiling_table(context, middle.costs, middle.device),
            _daemon_table(found, ceilings, shares, sum(middle.costs.values())),
            _overhead_table(overhead, found),
        ),
        charts=(_chart(rates),),
    )


def middle_round(rounds: Sequence[Round], group: str) -> Round:
    """The round with the median share of the ceiling; `rounds` are an odd number."""
    return sorted(rounds, key=lambda one: one.share(group))[len(rounds) // 2]


def _measure_round(context: BenchContext, files: list[str]) -> Round:
    """Measure the ceiling, then the daemon: a machine that is slow for a minute is slow for both."""
    if context.on_cpu:
        costs, device, count = stage_costs_on_busy_cores(context, files), 0.0, 1
    else:
        costs, device = stage_costs_on_gpu(context, files)
        count = len(context.groups[-1])
    ceilings = {
        group.name: throughput_ceiling(costs, context.cores, device, len(group) if count > 1 else 1)
        for group in context.groups
    }
    return Round(
        costs, device, ceilings, {group.name: _measure_daemon(context, group, files) for group in context.groups}
    )


def _turns(rounds: int) -> str:
    if rounds == 1:
        return "Each was measured once."
    return f"Ceiling and daemon took turns {rounds} times. Figures are those of the round with the median share."


def stage_costs_on_busy_cores(context: BenchContext, files: list[str]) -> dict[str, float]:
    """CPU seconds per image by stage, with one process of one thread on every core, all doing the same work.

    Cores share caches, memory and sometimes a physical core, so they are slower together than alone. The value is the
    mean over all photos, each used equally often: the time of a folder is a sum, to which photos with a long outline
    add more than a median shows.
    """
    workload, group = context.workload, DeviceGroup("each core", ("cpu",) * context.whole_cores, 1)
    context.show("stages with all cores busy")
    task = {"files": files, "batch": workload.stage_batch}
    with start_processes(group, context.model, context.canvas) as processes:
        ask_all(processes, "stages", repeats=1, **task)  # until all are warm
        _, answers = ask_all(processes, "stages", repeats=whole_rounds(len(files), workload), **task)
    return means([run for answer in answers for run in answer["runs"]], CPU)


def whole_rounds(files: int, workload: Workload) -> int:
    """The least number of batches, at least `workload.repeats`, that use every file equally often."""
    one_round = files // math.gcd(files, workload.stage_batch)
    return one_round * max(1, math.ceil(workload.repeats / one_round))


def stage_costs_on_gpu(context: BenchContext, files: list[str]) -> tuple[dict[str, float], float]:
    """CPU seconds per image by stage, and the seconds per image for which the GPU is busy."""
    with start_processes(context.first_group, context.model, context.canvas) as (process, *_):
        runs = measure_stages(context, process, files, "on the GPU", batch=DEVICE_BATCH)
    return medians(runs, CPU), sum(device_times(runs))


def _measure_daemon(context: BenchContext, group: DeviceGroup, files: Sequence[str]) -> SteadyState:
    """Run the daemon with its default settings on these devices."""

    def source(images: int) -> Path:
        folder = context.folder / f"daemon-{images}"
        return folder if folder.exists() else fill_folder([Path(file) for file in files], folder, images)

    context.show(f"the daemon, {group.name}")
    images = context.workload.daemon_images
    options = OnceOptions(",".join(group.devices), context.model, context.canvas)
    return measure_steady_state(daemon_runner(context.folder), source, options, images, images // (4 * len(group)))


def _ceiling_table(context: BenchContext, costs: Mapping[str, float], device: float) -> Table:
    limits = stage_limits(costs, context.cores)
    rows: list[tuple[Cell, ...]] = [
        (stage, 1000 * seconds, limits[stage] if seconds > 0 else None) for stage, seconds in costs.items()
    ]
    rows.append(("all", 1000 * sum(costs.values()), context.cores / sum(costs.values())))
    if device > 0:
        rows.append(("the device itself", 1000 * device, 1 / device))
    return Table(
        name="ceiling",
        title=f"Limits of {context.cores:g} cores for each stage, and for all stages",
        columns=("stage", "CPU ms per image, all cores busy", "img/s if the cores did nothing else"),
        rows=tuple(rows),
    )


def _daemon_table(
    found: Mapping[str, SteadyState], ceilings: Mapping[str, Ceiling], shares: Mapping[str, Spread], stages: float
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group, state in found.items():
        ceiling = ceilings[group].rate
        milliseconds = (1000 * state.cpu, 1000 * (state.cpu - stages), 1000 * state.supervisor)
        rows.append((group, state.rate, ceiling, f"{shares[group]} %", state.run.rate, *milliseconds))
    return Table(
        name="near",
        title="The daemon",
        columns=(
            "",
            "img/s",
            "ceiling",
            "share",
            "img/s from ready to the last image",
            "CPU ms per image",
            "of that beyond the stages",
            "of that in the supervisor",
        ),
        rows=tuple(rows),
    )


def _overhead_table(overhead: Overhead, found: Mapping[str, SteadyState]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for what, (wall, cpu) in (("queue", overhead.queue), ("metrics", overhead.metrics)):
        rows.append((what, 1e6 * wall, 1e6 * cpu, *_shares(wall, cpu, found)))
    rows.append(("together", 1e6 * overhead.wall, 1e6 * overhead.cpu, *_shares(overhead.wall, overhead.cpu, found)))
    names = [f"{group}: {what}" for group in found for what in ("share of CPU time", "share of time without overlap")]
    return Table(
        name="overhead",
        title="Queue and metrics, alone",
        columns=("", "µs per image", "CPU µs per image", *names),
        rows=tuple(rows),
        note="Calls of the queue wait for the disk, while other images make progress.",
    )


def _shares(wall: float, cpu: float, found: Mapping[str, SteadyState]) -> tuple[str, ...]:
    shares = [share for state in found.values() for share in (cpu / state.cpu, wall * state.rate)]
    return tuple(f"{100 * share:.2f} %" for share in shares)


def _chart(rates: Mapping[str, tuple[float, float]]) -> Chart:
    return Chart(
        name="daemon",
        title="The daemon and its throughput ceiling",
        kind="bar",
        x=tuple(rates),
        x_label="devices",
        y_label="images a second",
        series=(
            Series(label="the daemon", values=tuple(rate for rate, _ in rates.values())),
            Series(label="ceiling", values=tuple(ceiling for _, ceiling in rates.values())),
        ),
    )
