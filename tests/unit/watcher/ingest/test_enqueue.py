"""Which arrivals become jobs, besides those that nobody has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.core.jobs import ImageRef, Recipe, Rejection
from watcher.core.reasons import Reason
from watcher.ingest.enqueue import Enqueuer
from watcher.queues import open_queue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.stores.error_records import record_key, write_error_record
from watcher.testing import MemoryStore


@pytest.mark.parametrize(("reason", "again"), [(Reason.UNREADABLE, 1), (Reason.TRUNCATED, 0)])
def test_what_could_not_be_read_is_tried_again_when_it_is_found_again(
    tmp_path: Path, reason: Reason, again: int
) -> None:
    source, sink, recipe = MemoryStore(), MemoryStore(), Recipe("memory://store", "digest", {})
    queue = open_queue(f"sqlite://{tmp_path / 'queue.sqlite'}")
    enqueuer = Enqueuer(recipe, source, sink, queue, queue)
    arrivals = [Arrival(ImageRef(key, "1", 1), DiscoveredVia.SCAN) for key in ("a[1].jpg", "other.jpg")]
    assert enqueuer.accept(arrivals) == 2
    for lease in queue.lease("worker", 2, alone=False):
        rejection = Rejection(reason, "why")
        write_error_record(sink, lease.job, rejection)
        lease.reject(rejection)
    assert enqueuer.accept(arrivals[:1]) == again
    assert (sink.content(record_key("a[1].jpg")) is None) == bool(again)
    assert sink.content(record_key("other.jpg")) is not None
    assert (queue.stats().pending, enqueuer.accept(arrivals[:1])) == (again, 0)
    queue.close()
