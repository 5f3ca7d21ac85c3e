"""What is there against what is done: arrivals become jobs, and what is missing in the sink is done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watcher.errors import Unavailable
from watcher.quarantine import release
from watcher.queues.base import EmbeddedQueue
from watcher.sources.base import Arrival
from watcher.stores.base import Store
from watcher.work import Job, Recipe


@dataclass(frozen=True)
class Reconciler:
    """Source listing and events on one side, queue and sink on the other. The sink is the truth."""

    recipe: Recipe
    source: Store
    sink: Store
    queue: EmbeddedQueue

    def accept(self, arrivals: Sequence[Arrival]) -> int:
        """Enqueue what is not known; how many jobs are pending by it. Raises Unavailable: accept the same again."""
        jobs = [self.recipe.job(arrival.ref) for arrival in arrivals]
        undone = self._undone(jobs)
        return self.queue.put(jobs) + (self.queue.reopen(undone) if undone else 0)

    def forget_vanished(self) -> int:
        """Rejected images that are no longer in the source are nobody's problem any more; how many there were."""
        vanished = [job for job, _ in self.queue.rejected(1_000_000) if self.source.stat(job.ref.key) is None]
        for job in vanished:
            release(self.sink, job)
            self.queue.forget_key(job.ref.key)
        return len(vanished)

    def _undone(self, jobs: Sequence[Job]) -> list[str]:
        """Ids of jobs that the queue takes for done while the sink has nothing to show for it."""
        states = self.queue.known([job.id for job in jobs])
        return [job.id for job in jobs if states.get(job.id) == "done" and not self._shows(job)]

    def _shows(self, job: Job) -> bool:
        try:
            held = self.sink.held(job.output)
        except Unavailable:
            return True  # not known is no reason to do it again
        return held is not None and held.job == job.id
