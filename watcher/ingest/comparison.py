"""A source's listing against a sink's, merged in the order of their keys: what has no output, or an outdated one.

Neither listing is held in memory. Shallow, it goes by keys and times: an output that is younger than its image is taken
for that image's, one that is older is outdated, and only where the two are too close to tell is the output asked which
job made it. Deep, every output is.
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
from watcher.sources.names import SourceFilter
from watcher.stores.base import FAILED_PREFIX, Store, is_output_of
from watcher.stores.error_records import record_key

CHUNK = 1000
"""Images that are looked at together, as many as a page of a listing has."""
SLICE = 64
"""Questions between two looks whether to stop."""
SAME_CLOCK = 1.0
"""Seconds within which two times of one service may be the same moment: listings know no fractions."""
OTHER_CLOCK = 900.0
"""The same for two services: more than their clocks are apart."""
REMEMBERED = 200_000


class Recent:
    """The newest of the images that were added, in bounded memory."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._hashes: OrderedDict[int, None] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether another one would push an older one out."""
        return len(self._hashes) >= self._limit

    def __contains__(self, ref: ImageRef) -> bool:
        return hash((ref.key, ref.version)) in self._hashes

    def add(self, ref: ImageRef) -> bool:
        """Whether this version of the image is new here."""
        if ref in self:
            return False
        self._hashes[hash((ref.key, ref.version))] = None
        if len(self._hashes) > self._limit:
            self._hashes.popitem(last=False)
        return True


class Finding(StrEnum):
    """What the sink has to show for an image."""

    DONE = "done"
    REJECTED = "rejected"
    """An error record that is younger than the image."""
    MISSING = "missing"
    OUTDATED = "outdated"
    """An output of an older version, or of another model or option."""


UNDONE = (Finding.MISSING, Finding.OUTDATED)


@dataclass
class Comparison:
    """One comparison of all that there is; `found` counts while it runs."""

    recipe: Recipe
    source: Store
    sink: Store
    names: SourceFilter
    deep: bool = False
    records: bool = True
    """Leave alone what has an error record."""
    doubt: float = SAME_CLOCK
    """An output is asked whose time is not further than so many seconds from its image's."""
    asked: Recent = field(default_factory=Recent)
    """Images whose outputs were asked before, and are done."""
    requests: int = 16
    """How many outputs are asked about at a time."""
    found: Counter[Finding] = field(default_factory=Counter)

    def undone(self, stop: Stop) -> Iterator[tuple[ImageRef, Finding]]:
        """The images that are to be done, in the order of their keys; ends early on `stop`. Raises Unavailable."""
        outputs = Cursor(self.sink.list(), self.sink.stat)
        records = Cursor(self.sink.list(FAILED_PREFIX), self.sink.stat)
        with ThreadPoolExecutor(self.requests, thread_name_prefix="compare") as pool:
            for chunk in in_batches(self._images(), CHUNK):
                if stop.is_set():
                    return
                jobs = [self.recipe.job(ref) for ref in chunk]
                findings = {job: self._by_listing(job, outputs.find(job.output), records) for job in jobs}
                for doubts in in_batches([job for job, finding in findings.items() if finding is None], SLICE):
                    if stop.is_set():
                        return
                    findings.update(zip(doubts, pool.map(self._by_asking, doubts), strict=True))
                yield from self._undone(findings)

    def _images(self) -> Iterator[ImageRef]:
        return (ref for ref in self.source.list() if self.names.accepts(ref.key))

    def _undone(self, findings: Mapping[Job, Finding | None]) -> Iterator[tuple[ImageRef, Finding]]:
        for job, finding in findings.items():
            assert finding is not None, "every doubt was asked"
            self.found[finding] += 1
            if finding in UNDONE:
                yield job.ref, finding

    def _by_listing(self, job: Job, output: ImageRef | None, records: Cursor) -> Finding | None:
        """What the listings say, None where the output itself must be asked."""
        record = records.find(self.sink.record_location(record_key(job.ref.key))) if self.records else None
        if record is not None and record.modified >= job.ref.modified:
            return Finding.REJECTED
        if output is None:
            return Finding.MISSING
        if self.deep or not (self._is_clear(job.ref, output) or job.ref in self.asked):
            return None
        return Finding.OUTDATED if output.modified < job.ref.modified - self.doubt else Finding.DONE

    def _is_clear(self, ref: ImageRef, output: ImageRef) -> bool:
        """Whether times tell. S3 dates an upload in parts, whose ETag has a dash, back to its beginning."""
        return abs(output.modified - ref.modified) > self.doubt and "-" not in ref.version

    def _by_asking(self, job: Job) -> Finding:
        if not is_output_of(self.sink.output_info(job.output), job):
            return Finding.OUTDATED
        self.asked.add(job.ref)
        return Finding.DONE


class Cursor:
    """Looks keys up in a listing that is in the order of its keys, as it passes by.

    Output names keep the order of keys but for a few (`a.k.jpg` comes after `a.jpg`, `a.k.png` before `a.png`): a key
    that lies behind is asked for.
    """

    def __init__(self, refs: Iterator[ImageRef], ask: Callable[[str], ImageRef | None]) -> None:
        self._refs, self._ask = refs, ask
        self._next = next(refs, None)
        self._reached = b""

    def find(self, key: str) -> ImageRef | None:
        """The object at `key`, None if there is none."""
        wanted = key.encode()
        if wanted < self._reached:
            return self._ask(key)
        self._reached = wanted
        while self._next is not None and self._next.key.encode() < wanted:
            self._next = next(self._refs, None)
        return self._next if self._next is not None and self._next.key == key else None
