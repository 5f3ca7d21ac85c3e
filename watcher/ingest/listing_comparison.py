"""Merges the listings of source and sink by key and finds the images without an output, or with an outdated one.

Neither listing is held in memory. A shallow comparison goes by keys and times: an output that is younger than its image
counts as that image's, an older one as outdated, and only if the times are too close does it ask the output which job
made it. A deep comparison asks every output.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from watcher.core.batches import in_batches
from watcher.core.jobs import ImageRef, Job, Recipe
from watcher.sources.base import Stop
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import FAILED_PREFIX, Store, is_output_of
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
    """What the sink holds for an image."""

    DONE = "done"
    REJECTED = "rejected"
    """An error record that is younger than the image."""
    MISSING = "missing"
    OUTDATED = "outdated"
    """An output of an older version, or made with another model or option."""


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
        outputs = ListingCursor(self.sink.list(), self.sink.stat)
        records = ListingCursor(self.sink.list(FAILED_PREFIX), self.sink.stat)
        with ThreadPoolExecutor(self.requests, thread_name_prefix="compare") as pool:
            for chunk in in_batches(self._images(), CHUNK):
                if stop.is_set():
                    return
                jobs = [self.recipe.job(ref) for ref in chunk]
                states = {job: self._state_by_listing(job, outputs.find(job.output), records) for job in jobs}
                for unclear in in_batches([job for job, state in states.items() if state is None], REQUEST_BATCH):
                    if stop.is_set():
                        return
                    states.update(zip(unclear, pool.map(self._state_by_request, unclear), strict=True))
                yield from self._count(states)

    def _images(self) -> Iterator[ImageRef]:
        return (ref for ref in self.source.list() if self.names.accepts(ref.key))

    def _count(self, states: Mapping[Job, OutputState | None]) -> Iterator[tuple[ImageRef, OutputState]]:
        for job, state in states.items():
            assert state is not None, "every unclear output was asked"
            self.found[state] += 1
            if state in OUTSTANDING:
                yield job.ref, state

    def _state_by_listing(self, job: Job, output: ImageRef | None, records: ListingCursor) -> OutputState | None:
        """Return the output's state as far as the two listings can tell; None if the output itself must be read."""
        record = records.find(self.sink.record_location(record_key(job.ref.key))) if self.records else None
        if record is not None and record.modified >= job.ref.modified:
            return OutputState.REJECTED
        if output is None:
            return OutputState.MISSING
        if self.deep or not (self._is_clear(job.ref, output) or job.ref in self.verified):
            return None
        is_older = output.modified < job.ref.modified - self.clock_tolerance
        return OutputState.OUTDATED if is_older else OutputState.DONE

    def _is_clear(self, ref: ImageRef, output: ImageRef) -> bool:
        """Whether the times show which is younger. S3 dates a multipart upload, whose ETag has a dash, to its start."""
        return abs(output.modified - ref.modified) > self.clock_tolerance and "-" not in ref.version

    def _state_by_request(self, job: Job) -> OutputState:
        if not is_output_of(self.sink.output_info(job.output), job):
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
