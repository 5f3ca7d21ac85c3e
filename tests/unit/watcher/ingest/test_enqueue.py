"""Which arrivals become jobs, besides those that nobody has seen; and which rejected images are tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inference.codec import decode, encode
from tests.equipment.pictures import photo
from watcher.core.jobs import Facts, ImageRef, Outcome, Recipe, Rejection
from watcher.core.reasons import Reason
from watcher.ingest.enqueue import Enqueuer
from watcher.queues import open_queue
from watcher.queues.sqlite import SqliteQueue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.stores.error_records import record_key, write_error_record
from watcher.stores.output_metadata import output_text
from watcher.testing import MemoryStore, keep_all


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


RECIPE = Recipe("memory://source", "digest", {})


@dataclass
class Bench:
    """An enqueuer with an embedded queue."""

    queue: SqliteQueue
    source: MemoryStore = field(default_factory=lambda: MemoryStore("memory://source"))
    sink: MemoryStore = field(default_factory=lambda: MemoryStore("memory://sink"))

    @property
    def enqueuer(self) -> Enqueuer:
        return Enqueuer(RECIPE, self.source, self.sink, self.queue, self.queue)

    def reject(self, key: str, reason: Reason) -> None:
        """As a worker does."""
        job = RECIPE.job(self.source.write(key, photo(key)))
        self.queue.put([job])
        (lease,) = self.queue.lease("w", 1, alone=False)
        rejection = Rejection(reason, "as the worker said")
        write_error_record(self.sink, job, rejection)
        lease.reject(rejection)

    def leased(self) -> list[str]:
        return [lease.job.ref.key for lease in self.queue.lease("w", 10, alone=False)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with closing(SqliteQueue(tmp_path / "queue.sqlite")) as queue:
        yield Bench(queue)


def test_a_foreign_file_that_was_moved_away_blocks_no_longer(bench: Bench) -> None:
    bench.sink.write("shoes/[a].png", b"not ours")
    bench.reject("shoes/[a].jpg", Reason.OUTPUT_EXISTS)
    assert bench.enqueuer.retry_unblocked() == 0
    assert bench.queue.rejected() and bench.leased() == []
    bench.sink.remove("shoes/[a].png")
    assert bench.enqueuer.retry_unblocked() == 1
    assert bench.leased() == ["shoes/[a].jpg"]
    assert record_key("shoes/[a].jpg") not in bench.sink.keys


def test_an_output_of_another_image_blocks_until_that_image_is_deleted(bench: Bench) -> None:
    other = RECIPE.job(bench.source.write("a.jpg", photo("a.jpg")))
    (output,) = RECIPE.outputs_of(other.ref)
    bench.sink.write("a.png", encode(keep_all(decode(photo("a.jpg"))), text=output_text(output, Facts(1.0))))
    bench.queue.put([other])
    bench.queue.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
    bench.reject("a.webp", Reason.OUTPUT_TAKEN)
    assert bench.enqueuer.retry_unblocked() == 0
    bench.source.remove("a.jpg")
    assert bench.enqueuer.retry_unblocked() == 1
    assert bench.leased() == ["a.webp"]


def test_what_was_rejected_for_another_reason_stays_rejected(bench: Bench) -> None:
    bench.reject("a.jpg", Reason.TRUNCATED)
    assert bench.enqueuer.retry_unblocked() == 0
    assert [job.ref.key for job, _ in bench.queue.rejected()] == ["a.jpg"]
