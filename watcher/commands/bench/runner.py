"""`alphadrop bench`: measure all sections in order and write the report into one folder."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from inference.models.registry import resolve
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.device_groups import device_groups
from watcher.commands.bench.engine.engine_process import start_processes
from watcher.commands.bench.machine import SystemLoad, describe_machine
from watcher.commands.bench.peers.section import SIDE, PeerOptions, measure_peers
from watcher.commands.bench.progress import ProgressDisplay
from watcher.commands.bench.report import Machine, Report, Section, write
from watcher.commands.bench.sections import SECTIONS, measure
from watcher.commands.bench.workload import FULL, Workload
from watcher.config.settings import rembg_path
from watcher.core.errors import ConfigurationError
from watcher.fleet.cores import available_cores


@dataclass(frozen=True)
class BenchOptions:
    """Options of `alphadrop bench`."""

    workload: Workload
    out: Path
    devices: str = "auto"
    model: str = "nano"
    canvas: int | None = None
    only: tuple[str, ...] = ()
    strong: str = "u2net"
    strong_share: float = 0.15


def bench(options: BenchOptions, stream: TextIO = sys.stderr) -> Report:
    """Measure, and write the report into `options.out`.

    Raises ConfigurationError, ModelError, EngineProcessFailed or CommandFailed.
    """
    chosen = choose_sections(options.only)
    resolve(options.model, options.canvas, folder=rembg_path())
    cores = available_cores()
    groups = device_groups(options.devices, cores)
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=_parent(options.out)) as folder,
        ProgressDisplay(stream, chosen) as progress,
    ):
        context = BenchContext(
            options.workload,
            groups,
            options.model,
            options.canvas,
            cores,
            Path(folder).absolute(),
            options.strong,
            options.strong_share,
            progress.show,
        )
        listed = {
            "workload": options.workload.name,
            "devices": ", ".join(group.name for group in groups),
            "model": options.model,
        }
        return write_report(
            "alphadrop bench",
            listed,
            options.out,
            lambda: _measure_all(context, chosen, progress),
            lambda: describe_devices(context),
        )


def bench_peers(options: PeerOptions, out: Path, stream: TextIO = sys.stderr) -> Report:
    """Compare with other pipelines, and write the report into `out`. Raises ModelError or CommandFailed."""
    cores = available_cores()
    context = BenchContext(FULL, device_groups("cpu", cores), options.model, SIDE, cores, Path())
    listed = {"model": options.model, "images": str(options.count), "repeats": str(options.repeats)}
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=_parent(out)) as folder,
        ProgressDisplay(stream, ["peers"]) as progress,
    ):
        progress.begin("peers")
        return write_report(
            "alphadrop bench peers",
            listed,
            out,
            lambda: [_timed(lambda: measure_peers(options, Path(folder).absolute(), progress.show))],
            lambda: describe_devices(context),
        )


def write_report(
    title: str,
    options: Mapping[str, str],
    out: Path,
    measure_sections: Callable[[], Sequence[Section]],
    describe: Callable[[], Machine],
) -> Report:
    """Measure, describe the machine, and write the report with its charts."""
    from watcher.commands.bench.charts import draw_all

    load, started, clock, cpu_before = SystemLoad(), datetime.now(UTC), time.monotonic(), _cpu_seconds()
    sections = tuple(measure_sections())
    seconds = time.monotonic() - clock
    report = Report(
        title=title,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        options=dict(options),
        machine=describe(),
        others=load.others(_cpu_seconds() - cpu_before, seconds, os.sysconf("SC_CLK_TCK")),
        sections=sections,
    )
    write(report, out)
    draw_all(report, out)
    return report


def _measure_all(context: BenchContext, chosen: Iterable[str], progress: ProgressDisplay) -> list[Section]:
    sections = []
    for name in chosen:
        progress.begin(name)
        sections.append(_timed(lambda: measure(name, context)))  # noqa: B023, called at once
    return sections


def _timed(measure_section: Callable[[], Section]) -> Section:
    """Measure a section, and note how long that took."""
    clock, cpu_before = time.monotonic(), _cpu_seconds()
    section = measure_section()
    took = {"seconds": time.monotonic() - clock, "cpu_seconds": _cpu_seconds() - cpu_before}
    return section.model_copy(update=took)


def choose_sections(only: Sequence[str]) -> tuple[str, ...]:
    """The sections to measure, in the order of the report. Raises ConfigurationError for an unknown name."""
    unknown = sorted(set(only) - set(SECTIONS))
    if unknown:
        raise ConfigurationError(f"--only {unknown[0]}: there are {', '.join(SECTIONS)}.")
    return tuple(name for name in SECTIONS if not only or name in only)


def describe_devices(context: BenchContext) -> Machine:
    """Describe the machine; names, memory and driver of GPUs come from processes that have opened them."""
    with start_processes(context.groups[-1], context.model, context.canvas) as processes:
        facts = [process.ask("facts") for process in processes]
    gpus = tuple(f"{fact['name']} ({fact['memory'] / 2**30:.0f} GiB)" for fact in facts if fact["memory"])
    return describe_machine(available_cores(), quota(), gpus, str(facts[0]["driver"]))


def quota() -> str:
    """Why this process may use as many cores as it may."""
    visible = len(os.sched_getaffinity(0))
    cores = available_cores()
    return (
        f"a cgroup's quota; {visible} are visible" if cores < visible else f"{os.cpu_count()} in the machine, no quota"
    )


def _cpu_seconds() -> float:
    """CPU seconds of this process and of all children that have ended and been waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _parent(out: Path) -> Path:
    """The folder beside the report: the queue and the outputs belong on a real disk, which /tmp may not be."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent
