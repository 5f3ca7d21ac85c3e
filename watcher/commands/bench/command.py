"""`alphadrop bench`: all sections in turn, one folder with the report."""

from __future__ import annotations

import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from inference.models.registry import resolve
from watcher.commands.bench.children import Setup, children
from watcher.commands.bench.daemon.whole import Folder, daemon, folder, simulated
from watcher.commands.bench.machine import Load, machine
from watcher.commands.bench.peers.race import SIDE, PeerOptions, peers
from watcher.commands.bench.plan import FULL, Bench, Plan
from watcher.commands.bench.report import Machine, Report, Section, write
from watcher.commands.bench.sections import SECTIONS
from watcher.core.errors import ConfigurationError
from watcher.fleet.cores import available_cores, threads_per_worker
from watcher.fleet.devices import expand


@dataclass(frozen=True)
class Options:
    """What is to be measured."""

    plan: Plan
    out: Path
    devices: str = "auto"
    model: str = "nano"
    canvas: int | None = None
    only: tuple[str, ...] = ()


Measure = Callable[[Bench, Folder], Section]


def sections() -> Mapping[str, Measure]:
    """Everything that can be measured, in its order; loads what measures."""
    from watcher.commands.bench import pictures
    from watcher.commands.bench.engine import article, encoders, limits, processes, stages

    def encode_all(bench: Bench, _: Folder) -> Section:
        return encoders.measure(bench.plan.cutout_sizes, pictures.cutout_pixels, bench.plan.cutouts, bench.say)

    return {
        "single": lambda bench, _: article.single_images(bench),
        "folder": folder,
        "batches": lambda bench, _: article.batch_sizes(bench),
        "stages": lambda bench, _: stages.stage_costs(bench),
        "daemon": lambda bench, _: daemon(bench),
        "sweeps": lambda bench, _: stages.sweeps(bench),
        "encoders": encode_all,
        "processes": lambda bench, _: processes.compare(bench),
        "simulated": lambda bench, _: simulated(bench),
        "roofline": lambda bench, _: limits.roofline(bench),
    }


def bench(options: Options, stream: TextIO = sys.stderr) -> Report:
    """Measure, and write the report into `options.out`.

    Raises ConfigurationError, ModelError, or what has ended a measurement.
    """
    chosen = choose(options.only)
    resolve(options.model, options.canvas)
    setups = setups_of(options.devices, available_cores())
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=_parent(options.out)) as work,
        Shown(stream, chosen) as shown,
    ):
        on = Bench(
            options.plan, setups, options.model, options.canvas, available_cores(), Path(work).absolute(), shown.say
        )
        named = {
            "plan": options.plan.name,
            "devices": ", ".join(setup.name for setup in setups),
            "model": options.model,
        }
        return report("alphadrop bench", named, options.out, lambda: _measure(on, chosen, shown), lambda: describe(on))


def bench_peers(options: PeerOptions, out: Path, stream: TextIO = sys.stderr) -> Report:
    """Compare, and write the report into `out`. Raises ModelError or CommandFailed."""
    cores = available_cores()
    on = Bench(FULL, setups_of("cpu", cores), options.model, SIDE, cores, Path())
    named = {"model": options.model, "images": str(options.count), "repeats": str(options.repeats)}
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=_parent(out)) as work, Shown(stream, ["peers"]) as shown:
        shown.begin("peers")
        return report(
            "alphadrop bench peers",
            named,
            out,
            lambda: [_timed(lambda: peers(options, Path(work).absolute(), shown.say))],
            lambda: describe(on),
        )


def report(
    title: str,
    options: Mapping[str, str],
    out: Path,
    measure: Callable[[], Sequence[Section]],
    describe: Callable[[], Machine],
) -> Report:
    """Measure, describe the machine, draw and write."""
    from watcher.commands.bench.charts import draw_all

    load, started, clock, before = Load(), datetime.now(UTC), time.monotonic(), _own_seconds()
    found = tuple(measure())
    seconds = time.monotonic() - clock
    done = Report(
        title=title,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
        options=dict(options),
        machine=describe(),
        others=load.others(_own_seconds() - before, seconds, os.sysconf("SC_CLK_TCK")),
        sections=found,
    )
    write(done, out)
    draw_all(done, out)
    return done


def _measure(on: Bench, chosen: Iterable[str], shown: Shown) -> list[Section]:
    measures, runs, found = sections(), Folder(on), []
    for key in chosen:
        shown.begin(key)
        found.append(_timed(lambda: measures[key](on, runs)))  # noqa: B023, called at once
    return found


def _timed(measure: Callable[[], Section]) -> Section:
    """With what it took."""
    began, spent = time.monotonic(), _own_seconds()
    section = measure()
    took = {"seconds": time.monotonic() - began, "cpu_seconds": _own_seconds() - spent}
    return section.model_copy(update=took)


def choose(only: Sequence[str]) -> tuple[str, ...]:
    """The sections to measure, in their order. Raises ConfigurationError for names that mean nothing."""
    unknown = sorted(set(only) - set(SECTIONS))
    if unknown:
        raise ConfigurationError(f"--only {unknown[0]}: there are {', '.join(SECTIONS)}.")
    return tuple(key for key in SECTIONS if not only or key in only)


def setups_of(text: str, cores: float) -> tuple[Setup, ...]:
    """What is compared. On a CPU each word of the list; of cards the first one alone, then all of them.

    >>> [setup.name for setup in setups_of("cuda:0,cuda:1", 8)]
    ['cuda:0', 'cuda:0,cuda:1']
    """
    devices = expand(text)
    if devices == ["cpu"] and text == "auto":
        text = "cpu,cpu:2"
    if all(device == "cpu" for device in devices):
        return tuple(_setup(word, expand(word), cores) for word in re.split(r"\s*,\s*", text.strip()))
    lists = [devices[:1], devices] if len(devices) > 1 else [devices]
    return tuple(_setup(",".join(some), some, cores) for some in lists)


def _setup(name: str, devices: Sequence[str], cores: float) -> Setup:
    return Setup(name, tuple(devices), threads_per_worker(len(devices), cores))


def describe(on: Bench) -> Machine:
    """The machine, with what the devices' own libraries say of them."""
    with children(on.setups[-1], on.model, on.canvas) as processes:
        facts = [process.ask("facts") for process in processes]
    gpus = tuple(f"{fact['name']} ({fact['memory'] / 2**30:.0f} GiB)" for fact in facts if fact["memory"])
    return machine(available_cores(), quota(), gpus, str(facts[0]["driver"]))


def quota() -> str:
    """Where the number of cores comes from."""
    visible = len(os.sched_getaffinity(0))
    cores = available_cores()
    return (
        f"a cgroup's quota; {visible} are visible" if cores < visible else f"{os.cpu_count()} in the machine, no quota"
    )


def _own_seconds() -> float:
    """CPU seconds of this process and of all that it has started and waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _parent(out: Path) -> Path:
    """Beside the report: queue and outputs are to be on a disk that people use, which /tmp may not be."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


class Shown:
    """The progress bar; silent where nobody looks on."""

    def __init__(self, stream: TextIO, chosen: Sequence[str]) -> None:
        columns = (TextColumn("{task.fields[section]:>9}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        console = Console(file=stream)
        self._bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task("starting", total=len(chosen), completed=-1, section="")

    def begin(self, section: str) -> None:
        """The next section."""
        self._bar.update(self._task, advance=1, section=section, description="")

    def say(self, text: str) -> None:
        """What is being done."""
        self._bar.update(self._task, description=text)

    def __enter__(self) -> Shown:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()
