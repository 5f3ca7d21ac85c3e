"""Merges the listings of source and sink by key and finds the images without an output, or with an outdated one.

Neither listing is held in memory. A shallow comparison goes by keys and times: an output that is younger than its image
counts as that image's, an older one as outdated, and only if the times are too close does it ask the output which job
made it. A deep comparison asks every output.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from watcher.core.batches import in_batches
from watcher.core.jobs import ImageRef, Job, Output, Recipe
from watcher.sources.base import Stop
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import FAILED_PREFIX, Store, is_output
from watcher.stores.error_records import record_key

CHUNK = 1000
"""Images that are compared together: as many as one page of a listing holds."""
REQUEST_BATCH = 64
"""Number of requests to the sink after which to check whether the process has been told to stop."""
SAME_CLOCK_TOLERANCE = 1.0
"""Two times of one service closer than this, in seconds, may be the same moment: listings have no fractions."""
OTHER_CLOCK_TOLERANCE = 900.0
"""The same for times of two services: more than their clocks differ."""
MAX_RECENT = 200_000


class RecentImages:
    """The versions of images that were added last, in bounded memory."""

    def __init__(self, limit: int = MAX_RECENT) -> None:
        self._limit = limit
        self._hashes: OrderedDict[int, None] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether the next one would displace the oldest."""
        return len(self._hashes) >= self._limit

    def __contains__(self, ref: ImageRef) -> bool:
        return hash((ref.key, ref.version)) in self._hashes

    def add(self, ref: ImageRef) -> bool:
        """Add this version of the image; returns whether it is new."""
        if ref in self:
            return False
        self._hashes[hash((ref.key, ref.version))] = None
        if len(self._hashes) > self._limit:
            self._hashes.popitem(last=False)
        return True


class OutputState(StrEnum):
    """What the sink holds for an image: of several outputs, the worst of their states."""

    DONE = "done"
    REJECTED = "rejected"
    """An error record that is younger than the image."""
    MISSING = "missing"
    OUTDATED = "outdated"
    """An output of an older version, or made with another model, option or preset."""


OUTSTANDING = (OutputState.MISSING, OutputState.OUTDATED)
"""The states of images that must be processed."""


@dataclass
class ListingComparison:
    """Compares a source with a sink; `found` counts while it runs."""

    recipe: Recipe
    source: Store
    sink: Store
    names: SourceFilter
    deep: bool = False
    records: bool = True
    """Whether an image with an error record is left alone."""
    clock_tolerance: float = SAME_CLOCK_TOLERANCE
    """An output is asked who made it if its time is closer than this to its image's, in seconds."""
    verified: RecentImages = field(default_factory=RecentImages)
    """Images whose outputs were asked before and are done."""
    requests: int = 16
    """Concurrent requests to the sink."""
    found: Counter[OutputState] = field(default_factory=Counter)

    def outstanding(self, stop: Stop) -> Iterator[tuple[ImageRef, OutputState]]:
        """The images to process, in the order of their keys; ends early on `stop`. Raises Unavailable."""
        # Each its own listing: the keys of two outputs have different orders, or stand in different folders.
        outputs = [self._cursor(output.folder) for output in self.recipe.outputs]
        records = self._cursor(FAILED_PREFIX)
        with ThreadPoolExecutor(self.requests, thread_name_prefix="compare") as pool:
            for chunk in in_batches(self._images(), CHUNK):
                if stop.is_set():
                    return
                jobs = [self.recipe.job(ref) for ref in chunk]
                states = {job: self._state_by_listing(job, outputs, records) for job in jobs}
                for unclear in in_batches([job for job, state in states.items() if state is None], REQUEST_BATCH):
                    if stop.is_set():
                        return
                    states.update(zip(unclear, pool.map(self._state_by_request, unclear), strict=True))
                yield from self._count(states)

    def _cursor(self, below: str) -> ListingCursor:
        return ListingCursor(self.sink.list(below), self.sink.stat)

    def _images(self) -> Iterator[ImageRef]:
        return (ref for ref in self.source.list() if self.names.accepts(ref.key))

    def _count(self, states: Mapping[Job, OutputState | None]) -> Iterator[tuple[ImageRef, OutputState]]:
        for job, state in states.items():
            assert state is not None, "every unclear job's outputs were asked"
            self.found[state] += 1
            if state in OUTSTANDING:
                yield job.ref, state

    def _state_by_listing(
        self, job: Job, outputs: Sequence[ListingCursor], records: ListingCursor
    ) -> OutputState | None:
        """Return the job's state as far as the listings can tell; None if the outputs themselves must be read."""
        record = records.find(self.sink.record_location(record_key(job.ref.key))) if self.records else None
        found = [cursor.find(output.key) for cursor, output in zip(outputs, self._outputs_of(job), strict=True)]
        if record is not None and record.modified >= job.ref.modified:
            return OutputState.REJECTED
        states = [self._state_of_output(job.ref, output) for output in found]
        worst = next((state for state in OUTSTANDING if state in states), OutputState.DONE)
        return None if worst is OutputState.DONE and None in states else worst

    def _state_of_output(self, ref: ImageRef, output: ImageRef | None) -> OutputState | None:
        if output is None:
            return OutputState.MISSING
        if self.deep or not (self._is_clear(ref, output) or ref in self.verified):
            return None
        is_older = output.modified < ref.modified - self.clock_tolerance
        return OutputState.OUTDATED if is_older else OutputState.DONE

    def _outputs_of(self, job: Job) -> Sequence[Output]:
        return self.recipe.outputs_of(job.ref)

    def _is_clear(self, ref: ImageRef, output: ImageRef) -> bool:
        """Whether the times show which is younger. S3 dates a multipart upload, whose ETag has a dash, to its start."""
        return abs(output.modified - ref.modified) > self.clock_tolerance and "-" not in ref.version

    def _state_by_request(self, job: Job) -> OutputState:
        if not all(is_output(self.sink.output_info(output.key), output) for output in self._outputs_of(job)):
            return OutputState.OUTDATED
        self.verified.add(job.ref)
        return OutputState.DONE


class ListingCursor:
    """Finds keys in a sorted listing while it advances, without holding the listing in memory.

    Output names keep the order of keys with few exceptions (`a.k.jpg` comes after `a.jpg`, `a.k.png` before `a.png`):
    for a key that lies behind, the store is asked.
    """

    def __init__(self, refs: Iterator[ImageRef], stat: Callable[[str], ImageRef | None]) -> None:
        self._refs, self._stat = refs, stat
        self._next = next(refs, None)
        self._reached = b""

    def find(self, key: str) -> ImageRef | None:
        """The object at `key`; None if there is none."""
        wanted = key.encode()
        if wanted < self._reached:
            return self._stat(key)
        self._reached = wanted
        while self._next is not None and self._next.key.encode() < wanted:
            self._next = next(self._refs, None)
        return self._next if self._next is not None and self._next.key == key else None
