"""Compares source and sink at intervals and finds the images whose output is missing or outdated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from watcher.core.errors import Gone, Stale, Unavailable
from watcher.core.jobs import ImageRef, Recipe
from watcher.ingest.enqueue import Enqueuer
from watcher.ingest.listing_comparison import (
    OTHER_CLOCK_TOLERANCE,
    OUTSTANDING,
    SAME_CLOCK_TOLERANCE,
    ListingComparison,
    RecentImages,
)
from watcher.sources.base import Stop
from watcher.sources.source_filter import SourceFilter
from watcher.stores.base import INTERNAL_PREFIX

RESEND = 3600.0
"""Seconds after which images that are still outstanding are enqueued again, even if the queue was never empty."""


class Reconciler:
    """Finds outstanding images, one comparison after the other; see `reconciling.OutstandingImages`.

    An image that was found is not found again while its job may still wait: until the queue is empty, or for RESEND
    seconds. After a change of model or options, comparisons that find the queue empty are deep until one of them finds
    nothing; a marker in the sink records that.
    """

    def __init__(
        self,
        enqueuer: Enqueuer,
        names: SourceFilter,
        *,
        deep: bool = False,
        records: bool = True,
        clock_tolerance: float = SAME_CLOCK_TOLERANCE,
        settle: float = 0.0,
        listed_elsewhere: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compare listings, and with `deep` also look at every output, for a sink where that costs little.

        With `records`, images that have an error record count as finished; without, they are found again, as `once`
        needs, which reports every rejected image. `clock_tolerance` is as in ListingComparison. An image modified less
        than `settle` seconds ago is left for the next comparison. With `listed_elsewhere`, another source lists all
        images at the start, so that the first comparison remembers what is outstanding and yields nothing.
        """
        self._enqueuer = enqueuer
        self._comparison = ListingComparison(
            enqueuer.recipe, enqueuer.source, enqueuer.sink, names, deep, records, clock_tolerance
        )
        self._deep, self._settle, self._clock = deep, settle, clock
        self._remembers_only = listed_elsewhere
        """The next comparison yields nothing."""
        self._is_awaited = listed_elsewhere
        """Nothing of what the other source lists has been seen in the queue yet."""
        self._found = RecentImages()
        self._reset_at = 0.0
        self._marker = _ComparedMarker(enqueuer)
        self._clean = False

    def find(self, stop: Stop) -> Iterator[ImageRef]:
        """Compare once, and yield the images to process. Raises Unavailable; the next call starts over."""
        empty = self._reset_found()
        yields, self._remembers_only = not self._remembers_only, False
        comparison = self._comparison
        comparison.deep = self._deep or (empty and not self._marker.is_set())
        comparison.found.clear()
        self._clean = False
        try:
            for ref, _ in comparison.outstanding(stop):
                if self._is_full():  # the rest is found when the queue is empty
                    return
                if yields and self._is_young(ref):
                    continue
                if self._found.add(ref) and yields:
                    yield ref
        except Unavailable:  # the consumer collects batches, and has lost an incomplete one
            self._found = RecentImages()
            raise
        self._clean = comparison.deep and not any(comparison.found[state] for state in OUTSTANDING)

    def confirm(self) -> None:
        """Everything that the last comparison found is in the queue. Raises Unavailable."""
        # If not every comparison is deep, this one was because the marker was not set.
        if self._clean and not self._deep:
            self._marker.set()

    def _is_young(self, ref: ImageRef) -> bool:
        """A time far in the future, of a camera or from before the clock was set back, is no sign of a young image."""
        age = time.time() - ref.modified
        return self._settle > 0 and -OTHER_CLOCK_TOLERANCE < age < self._settle

    def _is_full(self) -> bool:
        """Whether no more images can be remembered. The embedded queue refuses a job that it has; a broker does not."""
        return self._found.full and self._enqueuer.embedded is None

    def _reset_found(self) -> bool:
        """Forget the found images if the queue may have lost them; returns whether it is empty or this is the start."""
        now, first = self._clock(), not self._reset_at
        empty = first or not self._enqueuer.queue.stats().open
        self._is_awaited &= empty  # until the other source has put its images, an empty queue has lost nothing
        if (empty and (first or not self._is_awaited)) or now >= self._reset_at:
            self._found = RecentImages()
            self._reset_at = now + RESEND
        return empty


class _ComparedMarker:
    """A small object in the sink that names the recipe with which all outputs were compared."""

    def __init__(self, enqueuer: Enqueuer) -> None:
        recipe = enqueuer.recipe
        self._sink = enqueuer.sink
        self._text = recipe.job_id(ImageRef("", "", 0)).encode()
        self._key = f"{INTERNAL_PREFIX}recipe-{Recipe(recipe.source, '', {}).job_id(ImageRef('', '', 0))[:16]}"

    def is_set(self) -> bool:
        ref = self._sink.stat(self._key)
        try:
            return ref is not None and self._sink.read(ref) == self._text
        except (Gone, Stale):
            return False

    def set(self) -> None:
        self._sink.put_record(self._key, self._text)
