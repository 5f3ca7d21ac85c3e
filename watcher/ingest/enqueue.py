"""Turns arrivals into jobs in the queue, unless they are known to be done."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from watcher.core.errors import Rejected, Unavailable
from watcher.core.jobs import Job, Recipe
from watcher.core.reasons import Reason
from watcher.queues.base import EmbeddedQueue, Queue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.stores.base import Store, is_output
from watcher.stores.error_records import delete_error_record
from watcher.worker.output_writer import OutputWriter

_REQUESTS = 16
"""Concurrent requests to the sink."""
MOST_UNREADABLE = 100_000
"""Files that were not readable, of which those that are found again are retried."""
_OUTPUT_IN_THE_WAY = (Reason.OUTPUT_EXISTS, Reason.OUTPUT_TAKEN)
"""Rejections whose cause is in the sink, not in the image."""
_MOST_RECHECKED = 1000
"""How many of each of these are looked at after a listing: each costs a request to the sink."""


@dataclass(frozen=True)
class Enqueuer:
    """Enqueues arrivals as jobs. What is done is decided by the outputs in the sink."""

    recipe: Recipe
    source: Store
    sink: Store
    queue: Queue
    embedded: EmbeddedQueue | None
    """The same queue if it is embedded: it knows which jobs are done."""

    def accept(self, arrivals: Sequence[Arrival]) -> int:
        """Enqueue the images that are not known yet; returns how many jobs became pending.

        Raises Unavailable: then call it with the same arrivals again.
        """
        jobs = [self.recipe.job(arrival.ref) for arrival in arrivals]
        if self.embedded is None:
            from_listing = arrivals[0].discovered_via is DiscoveredVia.SCAN
            return self.queue.put(self._without_outputs(jobs) if from_listing else jobs)
        states = self.embedded.known([job.id for job in jobs])
        lost = self._done_without_outputs(jobs, states)
        again = self._retry_unreadable(jobs, states, self.embedded)
        return self.embedded.put(jobs) + (self.embedded.reopen(lost) if lost else 0) + again

    def forget_vanished(self) -> int:
        """Remove the rejected images that were deleted from the source, with their error records; returns how many."""
        if self.embedded is None:
            return 0
        vanished = [job for job, _ in self.embedded.rejected(1_000_000) if self.source.stat(job.ref.key) is None]
        for job in vanished:
            delete_error_record(self.sink, job)
            self.embedded.forget_key(job.ref.key)
        return len(vanished)

    def retry_unblocked(self) -> int:
        """Retry the images that were rejected for another file in their output's place, if that is gone; how many.

        Raises Unavailable.
        """
        if self.embedded is None:
            return 0
        queue, reasons = self.embedded, _OUTPUT_IN_THE_WAY
        rejected = [job for reason in reasons for job, _ in queue.rejected(_MOST_RECHECKED, reason)]
        unblocked = [job for job in rejected if self._is_unblocked(job)]
        for job in unblocked:
            delete_error_record(self.sink, job)  # before the job is pending: a quick worker may write a new record
        return sum(len(queue.retry(glob.escape(job.ref.key))) for job in unblocked)

    def _is_unblocked(self, job: Job) -> bool:
        try:
            OutputWriter(self.source, self.sink).outdated(self.recipe.outputs_of(job.ref))
        except Rejected:
            return False
        return True

    def _retry_unreadable(self, jobs: Sequence[Job], states: Mapping[str, str], queue: EmbeddedQueue) -> int:
        """Try again what this user was not allowed to read: permissions change, and the file's version does not."""
        rejected = {job.id for job in jobs if states.get(job.id) == "rejected"}
        if not rejected:
            return 0
        unreadable = [job for job, _ in queue.rejected(MOST_UNREADABLE, Reason.UNREADABLE) if job.id in rejected]
        for job in unreadable:
            delete_error_record(self.sink, job)  # before the job is pending: a quick worker may write a new record
        return sum(len(queue.retry(glob.escape(job.ref.key))) for job in unreadable)

    def _done_without_outputs(self, jobs: Sequence[Job], states: Mapping[str, str]) -> list[str]:
        """Ids of the jobs that the queue has as done although the sink lacks an output of theirs."""
        try:
            lost = self._without_outputs([job for job in jobs if states.get(job.id) == "done"])
        except Unavailable:
            return []  # unknown is no reason to do it again
        return [job.id for job in lost]

    def _without_outputs(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs of which the sink lacks an output. Raises Unavailable."""
        if not jobs:
            return []
        with ThreadPoolExecutor(min(_REQUESTS, len(jobs)), thread_name_prefix="output-info") as pool:
            finished = pool.map(self._has_outputs, jobs)
            return [job for job, done in zip(jobs, finished, strict=True) if not done]

    def _has_outputs(self, job: Job) -> bool:
        return all(is_output(self.sink.output_info(output.key), output) for output in self.recipe.outputs_of(job.ref))
