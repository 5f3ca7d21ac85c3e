"""What a suspect leaves in the sink while it does what may kill: whoever finds it there knows what has been died of.

A broker only tells how often a message was handed out, and that grows for many reasons: a machine that was lost, an
answer that never arrived. Therefore a suspect's worker writes a small object before it looks at the image's bytes, and
deletes it when the cut-out is encoded. It counts how often that was begun and never survived, by any worker on any
machine; a process that takes everything down with it cannot take the mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from inference.errors import PictureError
from watcher.core.errors import Gone, Rejected, Stale, Unavailable
from watcher.core.jobs import DEATHS_TO_QUARANTINE, KILLS_WORKER, Job
from watcher.stores.base import INTERNAL_PREFIX, Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class CrashMarker:
    """What one suspect is about to do. `deaths` is how many have died of it alone."""

    job: Job
    deaths: int


class CrashMarkers:
    """The marks in a sink, for all threads of a worker."""

    def __init__(self, sink: Store) -> None:
        self._sink = sink
        self._survived: set[str] = set()
        """Jobs whose mark still stands, though it should not."""

    def of(self, job: Job) -> CrashMarker:
        """What is known of a suspect. Raises Rejected where it has killed too often, or Unavailable."""
        deaths = 0 if job.id in self._survived else self._read(job)
        if deaths >= DEATHS_TO_QUARANTINE:
            raise Rejected(KILLS_WORKER.reason, KILLS_WORKER.detail)
        return CrashMarker(job, deaths)

    @contextmanager
    def entered(self, peril: CrashMarker) -> Iterator[None]:
        """Around what may kill. What says nothing of the picture, such as a lost device, is not survived."""
        self._sink.put_record(marker_key(peril.job), b"%d" % (peril.deaths + 1))
        try:
            yield
        except PictureError:
            self._survive(peril.job)
            raise
        self._survive(peril.job)

    def _survive(self, job: Job) -> None:
        try:
            self._sink.delete(marker_key(job))
            self._survived.discard(job.id)
        except Unavailable as error:
            log.warning("mark_not_deleted", key=job.ref.key, problem=str(error))
            self._survived.add(job.id)

    def _read(self, job: Job) -> int:
        ref = self._sink.stat(marker_key(job))
        try:
            return int(self._sink.read(ref)) if ref is not None else 0
        except (Gone, Stale, ValueError):
            return 0


def marker_key(job: Job) -> str:
    """Where the mark of a job lies in the sink."""
    return f"{INTERNAL_PREFIX}peril-{job.id}"
