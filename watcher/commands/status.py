"""`alphadrop status`: what is pending, in flight, finished and rejected."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

from watcher.compose import find_model, make_links
from watcher.config.settings import Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Rejection
from watcher.queues import open_queue
from watcher.queues.base import EmbeddedQueue, QueueStats
from watcher.stores.error_records import read_error_records


def read_status(settings: Settings, most: int) -> tuple[QueueStats, list[tuple[str, Rejection]]]:
    """The queue's figures, and at most `most` rejected images by key. Raises ConfigurationError or Unavailable."""
    if not settings.queue:
        with closing(open_existing_queue(settings)) as queue:
            return queue.stats(), [(job.ref.key, rejection) for job, rejection in queue.rejected(most)]
    links, counts = make_links(settings, find_model(settings)), Counts()
    with closing(links.open_queue(counts)) as shared:
        records = islice(read_error_records(links.open_sink(counts)), most)
        return shared.stats(), [(record.key, record.rejection) for record in records]


def open_existing_queue(settings: Settings) -> EmbeddedQueue:
    """The embedded queue of this source and sink. Raises ConfigurationError where there is none yet."""
    path = settings.state_path / "queue.sqlite"
    if not path.exists():
        raise ConfigurationError(
            f"There is no queue for these folders yet ({path}): `run` or `once` makes it. "
            "Give the same source, sink and --state as there."
        )
    return open_queue(f"sqlite://{path}")
