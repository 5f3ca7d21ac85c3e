"""Makes rejected images pending again, for `alphadrop retry` and the API."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import closing
from fnmatch import fnmatchcase

from watcher.core.counts import Counts
from watcher.core.jobs import Job
from watcher.queues.base import MOST_REJECTED, EmbeddedQueue, Queue
from watcher.stores.base import Store
from watcher.stores.error_records import delete_error_record, read_error_records
from watcher.wiring import Wiring
from watcher.worker.crash_markers import marker_key


def retry_matching(queue: EmbeddedQueue, sink: Store, pattern: str) -> list[Job]:
    """Make the rejected images whose key matches a shell pattern pending again; returns their jobs."""
    for job, _ in queue.rejected(MOST_REJECTED):
        if fnmatchcase(job.ref.key, pattern):
            delete_error_record(sink, job)  # before the job is pending: a quick worker may write a new record
    return queue.retry(pattern)


def retry_records(wiring: Wiring, sink: Store, pattern: str) -> list[Job]:
    """The same for a broker's queue, which keeps no list of rejected images: the sink's error records are that list."""
    with closing(wiring.open_queue(Counts())) as queue:
        return list(_retried(wiring, sink, queue, pattern))


def retry_image(job: Job, sink: Store, queue: Queue, embedded: EmbeddedQueue | None) -> None:
    """Make one rejected image pending again. Raises Unavailable."""
    delete_error_record(sink, job)
    if embedded is None:
        sink.delete(marker_key(job))
    else:
        embedded.retry(glob.escape(job.ref.key))
    queue.put([job], urgent=True)


def _retried(wiring: Wiring, sink: Store, queue: Queue, pattern: str) -> Iterator[Job]:
    source = wiring.open_source(Counts())
    for record in read_error_records(sink):
        now = source.stat(record.key) if fnmatchcase(record.key, pattern) else None
        if now is not None:
            job = wiring.recipe.job(now)
            retry_image(job, sink, queue, None)  # one by one: if this process dies, `reconcile` finds the image
            yield job
