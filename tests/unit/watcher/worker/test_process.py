"""How many images a worker has in hand, and when it looks for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.equipment.support import wait_until
from watcher.core.jobs import ImageRef, Job, Lease, Outcome
from watcher.core.workerconfig import WorkerConfig
from watcher.queues.sqlite import SqliteQueue
from watcher.worker import process as worker
from watcher.worker.image_path import ImagePath
from watcher.worker.process import Reporter, Worker

MOST = 6


class Queue(SqliteQueue):
    """Remembers how many jobs were handed out at each look."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.handed_out: list[int] = []

    def lease(self, owner: str, limit: int, *, alone: bool) -> list[Lease]:
        leases = super().lease(owner, limit, alone=alone)
        self.handed_out.append(len(leases))
        return leases


class OpenPath:
    """An image's path that is as long as its test wants it."""

    def __init__(self) -> None:
        self.may_end = threading.Semaphore(0)

    def process(self, lease: Lease) -> None:
        self.may_end.acquire()
        lease.done(Outcome.WRITTEN)


class AtWork:
    """A worker in a thread, with a queue of its own."""

    def __init__(self, folder: Path) -> None:
        self.queue, self.path = Queue(folder / "queue.sqlite"), OpenPath()
        config = cast(WorkerConfig, type("Config", (), {"owner": "w", "shared": False}))
        unheard = cast(Reporter, lambda report: None)
        self.worker = Worker(config, cast(ImagePath, self.path), self.queue, MOST, unheard)
        self.thread = threading.Thread(target=self.worker.run)

    def put(self, first: int, count: int) -> None:
        """Jobs, from this number on."""
        refs = [ImageRef(f"{number}.jpg", "1", 1) for number in range(first, first + count)]
        self.queue.put([Job(ref.key, ref, f"{ref.key}.png") for ref in refs])

    def end_one(self) -> None:
        """One image ends, and is seen to."""
        before = self.worker.flying
        self.path.may_end.release()
        wait_until(lambda: self.worker.flying == before - 1)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(worker, "IDLE", 600.0)  # it looks when it has a reason alone
    work = AtWork(tmp_path)
    work.put(0, 20)
    work.thread.start()
    wait_until(lambda: work.worker.flying == MOST)
    yield work
    work.worker.drain()
    for _ in range(20 + MOST):
        work.path.may_end.release()
    work.thread.join(60)
    assert not work.thread.is_alive()
    work.queue.close()


def test_a_worker_looks_for_more_when_several_places_are_free(work: AtWork) -> None:
    work.end_one()
    work.path.may_end.release()
    wait_until(lambda: work.worker.flying == MOST)
    assert work.queue.handed_out == [MOST, 2]


def test_a_worker_that_is_told_of_work_looks_for_it_with_one_place_free(work: AtWork) -> None:
    work.end_one()
    work.worker.wake()
    wait_until(lambda: work.worker.flying == MOST)
    assert work.queue.handed_out == [MOST, 1]
