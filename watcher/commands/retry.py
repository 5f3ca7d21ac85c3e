"""`alphadrop retry`: make rejected images pending again."""

from __future__ import annotations

from contextlib import closing
from fnmatch import fnmatchcase

from watcher.commands.status import open_existing_queue
from watcher.compose import MOST_REJECTED, find_model, make_links
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.jobs import Job
from watcher.stores.base import Store
from watcher.stores.error_records import delete_error_record, read_error_records
from watcher.wiring import Links
from watcher.worker.crash_markers import marker_key


def retry_rejected(settings: Settings, pattern: str) -> list[Job]:
    """Make the rejected images whose key matches `pattern` pending again; a running daemon finds them in its queue."""
    links = make_links(settings, find_model(settings))
    sink = links.open_sink(Counts())
    if links.shared:
        return _retry_records(links, sink, pattern)
    with closing(open_existing_queue(settings)) as queue:
        for job, _ in queue.rejected(MOST_REJECTED):
            if fnmatchcase(job.ref.key, pattern):
                delete_error_record(sink, job)  # before the job is pending: a quick worker may write a new record
        return queue.retry(pattern)


def _retry_records(links: Links, sink: Store, pattern: str) -> list[Job]:
    """The same for a broker's queue, which keeps no list of rejected images: the sink's error records are that list."""
    source, found = links.open_source(Counts()), []
    with closing(links.open_queue(Counts())) as queue:
        for record in read_error_records(sink):
            now = source.stat(record.key) if fnmatchcase(record.key, pattern) else None
            if now is not None:
                job = links.recipe.job(now)
                sink.delete(marker_key(job))
                delete_error_record(sink, job)
                queue.put([job])  # one by one: if this process dies in between, `reconcile` finds the image
                found.append(job)
    return found
