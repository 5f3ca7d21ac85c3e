"""What is there against what is done: arrivals become jobs, and what is missing in the sink is done again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from watcher.core.errors import Gone, Stale, Unavailable
from watcher.core.jobs import ImageRef, Job, Recipe
from watcher.ingest.comparison import SAME_CLOCK, UNDONE, Comparison, Recent
from watcher.queues.base import EmbeddedQueue, Queue
from watcher.sources.base import Arrival, Hint, Stop
from watcher.sources.names import SourceFilter
from watcher.stores.base import INTERNAL_PREFIX, Store, is_output_of
from watcher.stores.error_records import delete_error_record

"""Below this prefix of the sink lies what alphadrop notes there for itself."""
RESEND = 3600.0
"""Seconds after which what is still missing is put again, even though the queue has never run empty meanwhile."""
_REQUESTS = 16


@dataclass(frozen=True)
class Reconciler:
    """Source listing and events on one side, queue and sink on the other. The sink is the truth."""

    recipe: Recipe
    source: Store
    sink: Store
    queue: Queue
    embedded: EmbeddedQueue | None
    """The same queue, where it is this machine's own and knows what has been done."""

    def accept(self, arrivals: Sequence[Arrival]) -> int:
        """Enqueue what is not known; how many jobs are pending by it. Raises Unavailable: accept the same again."""
        jobs = [self.recipe.job(arrival.ref) for arrival in arrivals]
        if self.embedded is None:
            return self.queue.put(_missing(self.sink, jobs) if arrivals[0].hint is Hint.SCAN else jobs)
        undone = self._undone(jobs, self.embedded)
        return self.embedded.put(jobs) + (self.embedded.reopen(undone) if undone else 0)

    def forget_vanished(self) -> int:
        """Rejected images that are no longer in the source are nobody's problem any more; how many there were."""
        if self.embedded is None:
            return 0
        vanished = [job for job, _ in self.embedded.rejected(1_000_000) if self.source.stat(job.ref.key) is None]
        for job in vanished:
            delete_error_record(self.sink, job)
            self.embedded.forget_key(job.ref.key)
        return len(vanished)

    def _undone(self, jobs: Sequence[Job], queue: EmbeddedQueue) -> list[str]:
        """Ids of jobs that the queue takes for done while the sink has nothing to show for it."""
        states = queue.known([job.id for job in jobs])
        try:
            missing = _missing(self.sink, [job for job in jobs if states.get(job.id) == "done"])
        except Unavailable:
            return []  # not known is no reason to do it again
        return [job.id for job in missing]


def _missing(sink: Store, jobs: Sequence[Job]) -> list[Job]:
    """Those of which the sink has nothing to show. Raises Unavailable."""
    if not jobs:
        return []
    with ThreadPoolExecutor(min(_REQUESTS, len(jobs)), thread_name_prefix="ask") as pool:
        held = pool.map(lambda job: sink.output_info(job.output), jobs)
        return [job for job, found in zip(jobs, held, strict=True) if not is_output_of(found, job)]


class Patrol:
    """Compares source and sink again and again, and says what is to be done.

    What it has said is not said again while it may still be waiting: until the queue has run empty, or for RESEND
    seconds. After a change of model or options, passes over an empty queue are deep, until one has found nothing to do;
    a mark in the sink tells.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        names: SourceFilter,
        *,
        deep: bool = False,
        records: bool = True,
        doubt: float = SAME_CLOCK,
        settle: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `deep`, every pass is: for a sink where looking at an output costs nothing.

        Without `records`, rejected images are not left alone: whoever does all of it once is to say what is wrong.
        `doubt` is the comparison's, see there. What was written less than `settle` seconds ago waits for a later pass.
        """
        self._reconciler = reconciler
        self._comparison = Comparison(
            reconciler.recipe, reconciler.source, reconciler.sink, names, deep, records, doubt
        )
        self._deep, self._settle, self._clock = deep, settle, clock
        self._said = Recent()
        self._forget_at = 0.0
        self._mark = _Mark(reconciler)
        self._clean = False

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        """One pass. Raises Unavailable or SourceMissing; then the next one starts anew."""
        empty = self._forget()
        comparison = self._comparison
        comparison.deep = self._deep or (empty and not self._mark.stands())
        comparison.found.clear()
        self._clean = False
        try:
            for ref, _ in comparison.undone(stop):
                if self._is_full():  # what would push others out comes when the queue has run empty
                    return
                if not self._is_young(ref) and self._said.add(ref):
                    yield ref
        except Unavailable:  # whoever collects what is found has lost the last of it
            self._said = Recent()
            raise
        self._clean = comparison.deep and not any(comparison.found[finding] for finding in UNDONE)

    def finished(self) -> None:
        """All that the pass has found is in the queue. Raises Unavailable."""
        # Where not every pass is deep, this one was because the mark did not stand.
        if self._clean and not self._deep:
            self._mark.set()

    def _is_young(self, ref: ImageRef) -> bool:
        return self._settle > 0 and time.time() - ref.modified < self._settle

    def _is_full(self) -> bool:
        """A broker takes every message, whether it has it or not. The embedded queue knows what it has."""
        return self._said.full and self._reconciler.embedded is None

    def _forget(self) -> bool:
        """What was lost on its way is said again. Whether the queue is empty, or this is the first pass."""
        now, first = self._clock(), not self._forget_at
        empty = first or not self._reconciler.queue.stats().open
        if empty or now >= self._forget_at:
            self._said = Recent()
            self._forget_at = now + RESEND
        return empty


class _Mark:
    """A small object in the sink that says which recipe its outputs have been compared with in full."""

    def __init__(self, reconciler: Reconciler) -> None:
        recipe = reconciler.recipe
        self._sink = reconciler.sink
        self._text = recipe.job_id(ImageRef("", "", 0)).encode()
        self._key = f"{INTERNAL_PREFIX}recipe-{Recipe(recipe.source, '', {}).job_id(ImageRef('', '', 0))[:16]}"

    def stands(self) -> bool:
        ref = self._sink.stat(self._key)
        try:
            return ref is not None and self._sink.read(ref) == self._text
        except (Gone, Stale):
            return False

    def set(self) -> None:
        self._sink.put_record(self._key, self._text)
