"""What an idle page costs the batch: two daemons in turn over the same pictures, one of them with --page.

Run it with `make page-cost`, on a quiet machine. It prints both throughputs, the CPU time of an image and the ratios.
The rounds go there and back (without, with, with, without), so that a drift of the machine hits both alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from watcher.commands.bench.daemon.run_once import clean_environment
from watcher.commands.bench.photos import draw_photos, fill_folder

LIMIT = 0.02
"""What the page may cost, as a share of the throughput."""
PATIENCE = 600.0
"""Seconds after which a daemon counts as stuck."""


@dataclass(frozen=True)
class Run:
    """One daemon's work."""

    rate: float
    """Images a second, from the first to the last."""
    cpu: float
    """CPU seconds an image, of all processes."""
    supervisor: float
    """The same of the supervisor alone."""


def measure(photos: list[Path], work: Path, images: int, *, page: bool, model: str) -> Run:
    """Start a daemon, hand it the images once it is ready, and stop it after the last one."""
    places = [work / "in", work / "out"]
    for place in places:
        place.mkdir(parents=True)
    waiting = fill_folder(photos, work / "waiting", images)
    flags = ["--state", str(work / "state"), "--http", "127.0.0.1:0", "--model", model, "--devices", "cpu"]
    flags += ["--log-format", "json", *(["--page"] if page else [])]
    log = work / "log.jsonl"
    with log.open("wb") as errors:
        command = [sys.executable, "-m", "watcher", "run", *map(str, places), *flags]
        daemon = subprocess.Popen(command, env=clean_environment(), stderr=errors)
    try:
        _wait(lambda: _events(log, "worker_ready"), daemon)
        before, began = _cpu(daemon.pid), time.time()
        waiting.rename(work / "in" / "batch")
        _wait(lambda: len(_events(log, "image")) >= images, daemon)
        after = _cpu(daemon.pid)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
    finished = _events(log, "image")
    if any(event["outcome"] != "written" for event in finished):
        raise SystemExit("an image was not written; its log line says why")
    seconds = max(event["finished_at"] for event in finished) - began  # the log is up to half a second late
    used = [(end - begin) / images for begin, end in zip(before, after, strict=True)]
    return Run(images / seconds, sum(used), used[0])


def _events(log: Path, name: str) -> list[dict[str, Any]]:
    mark = f'"event": "{name}"'
    return [json.loads(line) for line in log.read_text("utf-8").splitlines() if mark in line and line.endswith("}")]


def _wait(happened: Callable[[], object], daemon: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        if daemon.poll() is not None or time.monotonic() > until:
            raise SystemExit("the daemon has ended, or does not get on")
        time.sleep(0.05)


def _cpu(pid: int) -> tuple[float, float]:
    """CPU seconds of the supervisor, and of its children."""
    supervisor = psutil.Process(pid)
    own = supervisor.cpu_times()
    children = [child.cpu_times() for child in supervisor.children(recursive=True)]
    return own.user + own.system, sum(times.user + times.system for times in children)


def report(pairs: list[tuple[Run, Run]]) -> float:
    """Print the medians; returns the share of the throughput that the page costs."""
    table = Table("", "without", "with --page", "ratio")
    ratios = dict[str, float]()
    for name, (title, unit, scale) in _ROWS.items():
        bare, paged = ([getattr(run, name) for run in runs] for runs in zip(*pairs, strict=True))
        ratios[name] = median(b / a for a, b in zip(bare, paged, strict=True))
        shown = [f"{scale * median(values):.2f} {unit}" for values in (bare, paged)]
        table.add_row(title, *shown, f"{ratios[name]:.4f}")
    Console().print(table)
    return 1 - ratios["rate"]


_ROWS = {
    "rate": ("throughput", "img/s", 1.0),
    "cpu": ("all processes", "ms CPU an image", 1000.0),
    "supervisor": ("the supervisor", "ms CPU an image", 1000.0),
}
"""Title, unit and scale of each figure."""


def main() -> int:
    """Measure and print; fails where the page costs more than LIMIT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300, help="images of one run")
    parser.add_argument("--rounds", type=int, default=4, help="runs of each kind")
    parser.add_argument("--model", default="nano", help="fake has the least work, so that the page costs the most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="page-cost-") as folder:
        photos = draw_photos(Path(folder) / "photos", (1280, 960), 12)
        pairs = []
        for number in range(asked.rounds):
            found = {}
            for page in (False, True) if number % 2 == 0 else (True, False):
                work = Path(folder) / f"{number}-{page}"
                found[page] = measure(photos, work, asked.images, page=page, model=asked.model)
            pairs.append((found[False], found[True]))
            print(f"round {number + 1} of {asked.rounds}: {found[False].rate:.2f} and {found[True].rate:.2f} img/s")
    cost = report(pairs)
    print(f"An idle page costs {100 * cost:.2f} % of the throughput; the limit is {100 * LIMIT:.0f} %.")
    return 0 if cost < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
