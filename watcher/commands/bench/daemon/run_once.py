"""Runs `alphadrop once` over a folder and says how fast it was, its start not counted."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.commands.bench.children import ROOT
from watcher.commands.bench.daemon.process_log import CommandFailed, History, observe
from watcher.config.settings import PREFIX


@dataclass(frozen=True)
class Once:
    """How to run it."""

    devices: str
    model: str
    canvas: int | None = None
    batch: int = 0
    threads: int = 0
    cores: tuple[int, ...] = ()

    @property
    def flags(self) -> list[str]:
        """As options of the command."""
        options = {"devices": self.devices, "model": self.model, "batch": self.batch, "threads": self.threads}
        if self.canvas:
            options["canvas"] = self.canvas
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Ran:
    """What came of it."""

    images: int
    seconds: float
    """From the moment at which the first worker was ready until the last image was written."""
    cpu: float
    """CPU seconds of all its processes in that time."""
    supervisor: float
    """Of those, the supervisor's."""
    peak: int
    """The most bytes of main memory that one of its processes held."""
    history: History

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    def ends(self, workers: int) -> dict[str, list[float]]:
        """When images ended, by worker. Raises ValueError where not all of so many workers have ended any."""
        ends: dict[str, list[float]] = defaultdict(list)
        for at, image in self.history.lines("image"):
            ends[image["device"]].append(at)
        if len(ends) < workers:
            raise ValueError(f"{workers - len(ends)} workers were ready too late for any image")
        return ends


def run_once(source: Path, work: Path, how: Once) -> Ran:
    """Every file of `source`, into a new folder below `work`. Raises CommandFailed where one was not written."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [sys.executable, "-m", "watcher", "once", str(source), str(work / "out"), "--state", str(work / "state")]
    options = ["--log-format", "json", "--log-level", "info", *how.flags]
    history = observe([*command, *options], environment(), cwd=work, cores=how.cores)
    written = [at for at, image in history.lines("image") if image["outcome"] == "written"]
    wanted = sum(1 for path in source.iterdir())
    if len(written) != wanted:
        raise CommandFailed(f"{len(written)} of {wanted} images were written")
    begin, end = min(history.times("worker_ready")), max(written)
    shutil.rmtree(work / "out")
    cpu, alone = history.cpu(begin, end), history.cpu(begin, end, alone=True)
    return Ran(wanted, end - begin, cpu, alone, history.peak, history)


def environment(**variables: str) -> dict[str, str]:
    """Ours without settings, and with our packages to be found from anywhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    paths: Sequence[str] = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)} | variables
