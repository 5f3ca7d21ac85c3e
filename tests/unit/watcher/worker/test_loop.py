"""How many images a worker has in flight, and when it leases more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from tests.equipment.support import wait_until
from watcher.core.jobs import ImageRef, Job, Lease, Outcome
from watcher.queues.base import Leases
from watcher.queues.sqlite import SqliteQueue
from watcher.worker import loop
from watcher.worker.image_path import ImagePath
from watcher.worker.loop import WorkerLoop

MOST = 6
"""Images that are being made."""
ALL = 8
"""Images in flight."""


class Queue(SqliteQueue):
    """Remembers how many jobs each request leased."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.handed_out: list[int] = []
        self.waits = False
        """Whether its empty answers say that it has waited for jobs."""

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        leases = super().lease(owner, limit, alone=alone)
        self.handed_out.append(len(leases))
        return leases if leases else Leases(waited=self.waits)


class OpenPath:
    """An image's path whose images are made, and end, when the test lets them."""

    def __init__(self) -> None:
        self.may_be_made, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.made_first = False
        """Whether an image is made before it ends; otherwise it ends without having been made, as a rejected one."""

    def process(self, lease: Lease, made: Callable[[], None]) -> None:
        if self.made_first:
            self.may_be_made.acquire()
            made()
        self.may_end.acquire()
        lease.done(Outcome.WRITTEN)


class RunningWorker:
    """A worker's loop in a thread, with a queue of its own."""

    def __init__(self, folder: Path) -> None:
        self.queue, self.path = Queue(folder / "queue.sqlite"), OpenPath()
        self.worker = WorkerLoop("w", cast(ImagePath, self.path), self.queue, MOST, lambda report: None, ALL)
        self.thread = threading.Thread(target=self.worker.run)

    def put(self, first: int, count: int) -> None:
        """Enqueue `count` jobs, numbered from `first` on."""
        refs = [ImageRef(f"{number}.jpg", "1", 1) for number in range(first, first + count)]
        self.queue.put([Job(ref.key, ref, f"{ref.key}.png") for ref in refs])

    def end_one(self) -> None:
        """Let one image end, and wait until the worker knows."""
        before = self.worker.in_flight
        self.path.may_end.release()
        wait_until(lambda: self.worker.in_flight == before - 1)


@pytest.fixture
def work(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(loop, "IDLE_SECONDS", 600.0)  # it asks the queue only when it has a reason
    work = RunningWorker(tmp_path)
    work.path.made_first = getattr(request, "param", False)
    work.put(0, 20)
    work.thread.start()
    wait_until(lambda: work.worker.in_flight == MOST)
    yield work
    work.worker.drain()
    for _ in range(20 + MOST):
        work.path.may_be_made.release()
        work.path.may_end.release()
    work.thread.join(60)
    assert not work.thread.is_alive()
    work.queue.close()


def test_a_worker_leases_more_when_several_places_are_free(work: RunningWorker) -> None:
    work.end_one()
    work.path.may_end.release()
    wait_until(lambda: work.worker.in_flight == MOST)
    assert work.queue.handed_out == [MOST, 2]


def test_a_worker_that_is_woken_leases_for_a_single_free_place(work: RunningWorker) -> None:
    work.end_one()
    work.worker.wake()
    wait_until(lambda: work.worker.in_flight == MOST)
    assert work.queue.handed_out == [MOST, 1]


def test_a_worker_asks_a_queue_again_at_once_if_it_has_waited(work: RunningWorker) -> None:
    work.queue.waits = True
    for _ in range(20):
        work.path.may_end.release()
    work.worker.wake()
    wait_until(lambda: work.worker.in_flight == 0)
    work.put(20, 1)  # nobody wakes the worker
    wait_until(lambda: work.worker.in_flight == 1)


@pytest.mark.parametrize("work", [True], indirect=True)
def test_images_that_only_wait_for_the_sink_leave_their_places_to_others(work: RunningWorker) -> None:
    for _ in range(2):
        work.path.may_be_made.release()
    wait_until(lambda: work.worker.in_flight == ALL)
    assert work.queue.handed_out == [MOST, 2]
    for _ in range(2):  # all are in flight that may be
        work.path.may_be_made.release()
    work.worker.wake()
    wait_until(lambda: not work.worker._woken, message="the worker has not looked since it was woken")
    work.end_one()
    work.path.may_end.release()
    wait_until(lambda: work.worker.in_flight == ALL)
    assert work.queue.handed_out == [MOST, 2, 2]


@pytest.mark.parametrize("suspect_first", [True, False])
def test_a_worker_may_begin_with_the_last_crash_suspect(tmp_path: Path, suspect_first: bool) -> None:
    begun: list[tuple[str, bool]] = []

    class AnyPath:
        def process(self, lease: Lease, made: Callable[[], None]) -> None:
            begun.append((lease.job.ref.key, lease.alone))
            lease.done(Outcome.WRITTEN)
            worker.drain()

    with closing(Queue(tmp_path / "queue.sqlite")) as queue:
        refs = [ImageRef(f"{number}.jpg", "1", 1) for number in range(3)]
        queue.put([Job(ref.key, ref, f"{ref.key}.png") for ref in refs])
        queue.lease("dead", 1, alone=True)
        queue.abandon("dead", blame=False)
        path = cast(ImagePath, AnyPath())
        worker = WorkerLoop("w", path, queue, 1, lambda report: None, suspect_first=suspect_first)
        worker.run()
    assert begun == [("0.jpg", True) if suspect_first else ("1.jpg", False)]
