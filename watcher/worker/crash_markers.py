"""Counts in the sink how often a worker died while it processed one image alone.

A broker only counts deliveries, which also grow when a machine is lost or an answer never arrives. Therefore the worker
of a crash suspect (a redelivered image) writes a small object to the sink before it looks at the image's bytes, and
deletes it once the cut-out is encoded. The object holds the number of attempts that did not get that far, by any worker
on any machine: a process that dies, whatever it takes with it, cannot delete its marker.

A worker that ends itself because a picture takes too long to decode, though it is decoded alone, says so in the marker,
whichever queue the job is from. The next worker rejects the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from inference.errors import PictureError
from watcher.core.errors import Gone, Rejected, Stale, Unavailable
from watcher.core.jobs import DEATHS_TO_QUARANTINE, KILLS_WORKER, Job
from watcher.core.reasons import Reason
from watcher.stores.base import INTERNAL_PREFIX, Store

log = structlog.get_logger(__name__)

_TIMED_OUT = b"decode_timeout "
"""How the marker of a picture begins that takes too long to decode; the limit follows, in seconds."""


@dataclass(frozen=True)
class CrashMarker:
    """A crash suspect, and how many workers have died while it was the only image they processed."""

    job: Job
    deaths: int


class CrashMarkers:
    """The crash markers in a sink. Safe to use from all threads of a worker."""

    def __init__(self, sink: Store, *, count_deaths: bool = True) -> None:
        """Without `count_deaths`, a death counts against no image until `device_works` was called."""
        self._sink, self._count_deaths = sink, count_deaths
        self._survived: set[str] = set()
        """Jobs that a worker survived, but whose marker could not be deleted."""

    def device_works(self) -> None:
        """The device has finished a picture: from now on, a death counts against the suspect that runs alone."""
        self._count_deaths = True

    def read(self, job: Job) -> CrashMarker:
        """Read a suspect's marker.

        Raises Rejected if too many workers have crashed on it or if it takes too long to decode, or Unavailable.
        """
        content = b"" if job.id in self._survived else self._content(job)
        self._require_in_time(job, content)
        deaths = int(content) if content.isdigit() else 0
        if deaths >= DEATHS_TO_QUARANTINE:
            raise Rejected(KILLS_WORKER.reason, KILLS_WORKER.detail)
        return CrashMarker(job, deaths)

    def require_in_time(self, job: Job) -> None:
        """Raise Rejected if a worker found that the picture takes too long to decode. Raises Unavailable."""
        self._require_in_time(job, self._content(job))

    def record_timeout(self, job: Job, limit: float) -> None:
        """Record that a picture took longer than `limit` seconds to decode. Raises Unavailable."""
        self._sink.put_record(marker_key(job), _TIMED_OUT + b"%g" % limit)

    @contextmanager
    def guard(self, marker: CrashMarker) -> Iterator[None]:
        """Set the marker while the block runs.

        It stays if the block ends in an error that says nothing about the picture, such as a lost device.
        """
        self._sink.put_record(marker_key(marker.job), b"%d" % (marker.deaths + self._count_deaths))
        try:
            yield
        except PictureError:
            self._delete(marker.job)
            raise
        self._delete(marker.job)

    def _delete(self, job: Job) -> None:
        try:
            self._sink.delete(marker_key(job))
            self._survived.discard(job.id)
        except Unavailable as error:
            log.warning("crash_marker_not_deleted", key=job.ref.key, problem=str(error))
            self._survived.add(job.id)

    def _require_in_time(self, job: Job, content: bytes) -> None:
        if content.startswith(_TIMED_OUT):
            self._delete(job)  # so that the picture has another chance after `alphadrop retry`
            limit = content.removeprefix(_TIMED_OUT).decode("ascii", "replace")
            raise Rejected(
                Reason.DECODE_TIMEOUT,
                f"Decoding took longer than {limit} seconds (--decode-timeout), also when no other image was decoded "
                "beside it. Save the picture again with another program.",
            )

    def _content(self, job: Job) -> bytes:
        ref = self._sink.stat(marker_key(job))
        try:
            return self._sink.read(ref) if ref is not None else b""
        except (Gone, Stale):
            return b""


def marker_key(job: Job) -> str:
    """The key of a job's crash marker in the sink."""
    return f"{INTERNAL_PREFIX}crash-{job.id}"
