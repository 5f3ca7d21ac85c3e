"""Measure what queue and metrics cost per image, by the calls that one image causes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watcher.commands.bench.timing import Times
from watcher.core.jobs import ImageRef, Job, Outcome, Recipe
from watcher.protocol import STAGES, ImageReport, decode_report, encode
from watcher.queues import open_queue
from watcher.telemetry.metrics import Metrics

FIRST_LEASE, NEXT_LEASE = 6, 2
"""Jobs that a worker on a CPU leases at once: as many as it has in flight at first, a few at a time from then on."""
PUT = 256
"""Jobs that the supervisor puts at a time."""


@dataclass(frozen=True)
class Overhead:
    """Wall seconds, including waits for the disk, and CPU seconds per image."""

    queue: tuple[float, float]
    metrics: tuple[float, float]

    @property
    def wall(self) -> float:
        """Wall seconds of queue and metrics together."""
        return self.queue[0] + self.metrics[0]

    @property
    def cpu(self) -> float:
        """CPU seconds of queue and metrics together."""
        return self.queue[1] + self.metrics[1]


def measure_overhead(folder: Path, jobs: int) -> Overhead:
    """Measure with this number of jobs, and the queue's file in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    refs = [ImageRef(f"shoes/{index:06}.jpg", f"{index:x}", 400_000) for index in range(jobs)]
    recipe = Recipe("file:///photos", "0" * 64, {"png_level": 1})
    return Overhead(_queue(folder / "queue.sqlite", [recipe.job(ref) for ref in refs]), _metrics(jobs))


def _queue(path: Path, jobs: list[Job]) -> tuple[float, float]:
    """Put, lease and finish all jobs; read the statistics after each lease, as the supervisor does at intervals."""
    queue, times, finished = open_queue(f"sqlite://{path}"), Times(), 0
    with times.measure():
        for first in range(0, len(jobs), PUT):
            queue.put(jobs[first : first + PUT])
        while leases := queue.lease("worker", NEXT_LEASE if finished else FIRST_LEASE, alone=not finished):
            for lease in leases:
                lease.done(Outcome.WRITTEN)
                finished += 1
            queue.stats()
    queue.close()
    if finished != len(jobs):
        raise RuntimeError(f"the queue has leased {finished} of {len(jobs)} jobs")
    return times.wall[0] / finished, times.cpu[0] / finished


def _metrics(images: int) -> tuple[float, float]:
    """Encode a report as a worker does, decode and count it as the supervisor does."""
    metrics, times = Metrics(), Times()
    stages = dict.fromkeys(STAGES, 0.0123)
    report = ImageReport(
        key="shoes/a.jpg",
        job="0" * 64,
        outcome=Outcome.WRITTEN,
        output="shoes/a.png",
        stages=stages,
        starts=stages,
        pixels=2073600,
    )
    with times.measure():
        for _ in range(images):
            metrics.report("cpu", decode_report(encode(report)))
    return times.wall[0] / images, times.cpu[0] / images
