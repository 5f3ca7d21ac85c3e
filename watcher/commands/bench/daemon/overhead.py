"""What queue, ledger and metrics cost an image: the very calls that an image makes, timed alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watcher.commands.bench.timing import Times
from watcher.core.jobs import ImageRef, Job, Outcome, Recipe
from watcher.core.protocol import STAGES, ImageReport, decode_report, encode_report
from watcher.queues import open_queue
from watcher.telemetry.metrics import Metrics

HANDED_OUT, AGAIN = 6, 2
"""Jobs that a worker on a CPU has in hand, and so leases at first; and as many as it leases from then on."""
LISTED = 256
"""Jobs that the supervisor puts at a time."""


@dataclass(frozen=True)
class Overhead:
    """Seconds an image: by the clock, with all waiting for the disk, and of CPU time."""

    queue: tuple[float, float]
    metrics: tuple[float, float]

    @property
    def wall(self) -> float:
        """Of both."""
        return self.queue[0] + self.metrics[0]

    @property
    def cpu(self) -> float:
        """Of both."""
        return self.queue[1] + self.metrics[1]


def overhead(folder: Path, jobs: int) -> Overhead:
    """With so many jobs, the queue's file in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    refs = [ImageRef(f"shoes/{index:06}.jpg", f"{index:x}", 400_000) for index in range(jobs)]
    recipe = Recipe("file:///photos", "0" * 64, {"png_level": 1})
    return Overhead(_queue(folder / "queue.sqlite", [recipe.job(ref) for ref in refs]), _metrics(jobs))


def _queue(path: Path, jobs: list[Job]) -> tuple[float, float]:
    """Put, lease, end; looked at as often as the supervisor looks."""
    queue, times, ended = open_queue(f"sqlite://{path}"), Times(), 0
    with times.one():
        for first in range(0, len(jobs), LISTED):
            queue.put(jobs[first : first + LISTED])
        while leases := queue.lease("worker", AGAIN if ended else HANDED_OUT, alone=not ended):
            for lease in leases:
                lease.done(Outcome.WRITTEN)
                ended += 1
            queue.stats()
    queue.close()
    if ended != len(jobs):
        raise RuntimeError(f"the queue has handed out {ended} of {len(jobs)} jobs")
    return times.wall[0] / ended, times.cpu[0] / ended


def _metrics(images: int) -> tuple[float, float]:
    """A report written by a worker, read by the supervisor, and counted."""
    metrics, times = Metrics(), Times()
    stages = dict.fromkeys(STAGES, 0.0123)
    report = ImageReport(
        "shoes/a.jpg", "0" * 64, "written", "shoes/a.png", stages=stages, starts=stages, pixels=2073600
    )
    with times.one():
        for _ in range(images):
            metrics.report("cpu", decode_report(encode_report(report)))
    return times.wall[0] / images, times.cpu[0] / images
