"""Runs `alphadrop once` over a folder and measures its throughput from the moment a worker is ready."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.commands.bench.engine.engine_process import ROOT
from watcher.commands.bench.process_monitor import CommandFailed, CommandRecord, monitor_command
from watcher.config.settings import PREFIX
from watcher.core.python import python


@dataclass(frozen=True)
class OnceOptions:
    """Options of `alphadrop once`; 0 and None leave its default. `cores` are the core numbers that it may use."""

    devices: str
    model: str
    canvas: int | None = None
    batch: int = 0
    threads: int = 0
    cores: tuple[int, ...] = ()

    @property
    def flags(self) -> list[str]:
        """The options as command-line arguments."""
        options = {"devices": self.devices, "model": self.model, "batch": self.batch, "threads": self.threads}
        if self.canvas:
            options["canvas"] = self.canvas
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True)
class OnceRun:
    """Measurements of one run."""

    images: int
    seconds: float
    """From the moment the first worker was ready until the last image was written."""
    cpu: float
    """CPU seconds of all its processes in that time."""
    supervisor: float
    """CPU seconds of the supervisor alone in that time."""
    peak_rss: int
    """Largest resident set of one of its processes, in bytes."""
    record: CommandRecord

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    def finished(self, workers: int) -> dict[str, list[float]]:
        """Times at which images were finished, by worker. Raises ValueError where a worker has finished none."""
        finished: dict[str, list[float]] = defaultdict(list)
        for at, image in self.record.lines("image"):
            finished[image["device"]].append(at)
        if len(finished) < workers:
            raise ValueError(f"{workers - len(finished)} workers were ready too late for any image")
        return finished


def run_once(source: Path, work: Path, options: OnceOptions) -> OnceRun:
    """Process every file of `source` into a new folder below `work`. Raises CommandFailed where one is not written."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = python("-m", "watcher", "once", str(source), str(work / "out"), "--state", str(work / "state"))
    flags = ["--log-format", "json", "--log-level", "info", *options.flags]
    record = monitor_command([*command, *flags], clean_environment(), cwd=work, cores=options.cores)
    written = [at for at, image in record.lines("image") if image["outcome"] == "written"]
    expected = sum(1 for path in source.iterdir())
    if len(written) != expected:
        raise CommandFailed(f"{len(written)} of {expected} images were written")
    begin, end = min(record.times("worker_ready")), max(written)
    shutil.rmtree(work / "out")
    cpu, supervisor = record.cpu(begin, end), record.cpu(begin, end, alone=True)
    return OnceRun(expected, end - begin, cpu, supervisor, record.peak_rss, record)


def clean_environment(**variables: str) -> dict[str, str]:
    """Our environment without alphadrop's settings, in which our packages are found from any working directory."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    paths: Sequence[str] = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)} | variables
