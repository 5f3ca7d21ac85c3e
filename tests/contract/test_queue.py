"""The contract of every queue. Add another one to QUEUES, and an embedded one to EMBEDDED in test_embedded_queue.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.contract.brokers import Site, rabbit_site, sqs_site
from tests.equipment.support import Clock, wait_until
from watcher.core.counts import Counts
from watcher.core.jobs import ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.queues.base import Queue, QueueStats
from watcher.queues.broker import BrokerQueue
from watcher.queues.sqlite import SqliteQueue
from watcher.testing import MemoryQueue

START = 1_700_000_000.0
BROKEN = Rejection(Reason.TRUNCATED, "The file ends early: copy it again.")


Opener = Callable[[pytest.FixtureRequest, Clock], AbstractContextManager[Queue]]


def open_sqlite(request: pytest.FixtureRequest, clock: Clock) -> AbstractContextManager[Queue]:
    folder: Path = request.getfixturevalue("tmp_path")
    return closing(SqliteQueue(folder / "queue.sqlite", clock=clock))


def open_sqs(request: pytest.FixtureRequest, clock: Clock) -> AbstractContextManager[Queue]:
    return closing(broker_queue(sqs_site(request.getfixturevalue("sqs")), clock))


def open_amqp(request: pytest.FixtureRequest, clock: Clock) -> AbstractContextManager[Queue]:
    return closing(broker_queue(rabbit_site(request.getfixturevalue("rabbit")), clock))


def open_memory(request: pytest.FixtureRequest, clock: Clock) -> AbstractContextManager[Queue]:
    return closing(MemoryQueue(clock=clock))


QUEUES: dict[str, Opener] = {"sqlite": open_sqlite, "memory": open_memory, "sqs": open_sqs, "amqp": open_amqp}


def broker_queue(site: Site, clock: Callable[[], float]) -> BrokerQueue:
    return BrokerQueue(site.open(), jobs_of, body_of, patience=0.0, clock=clock, counts=Counts())


def jobs_of(body: bytes) -> list[Job]:
    words = json.loads(body)
    return [Job(words["id"], ImageRef(**words["ref"]), words["output"])]


def body_of(job: Job) -> bytes:
    return json.dumps(asdict(job)).encode()


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture(params=sorted(QUEUES))
def queue(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Queue]:
    with QUEUES[request.param](request, clock) as opened:
        yield opened


def job(key: str, version: str = "1", *, output: str | None = None) -> Job:
    return Job(f"{key}@{version}", ImageRef(key, version, 10), output or f"{key}.png")


def ids(leases: Sequence[Lease]) -> list[str]:
    return sorted(lease.job.id for lease in leases)


def take(queue: Queue, count: int, *, waiting: int = 0, alone: bool = False) -> list[Lease]:
    """Lease `count` jobs while `waiting` others must wait. A broker may deliver them later, and in any order."""
    leases: list[Lease] = []

    def look() -> bool:
        leases.extend(queue.lease("w", count + waiting - len(leases), alone=alone))
        return len(leases) == count

    wait_until(look, message=f"fewer than {count} jobs came")
    return leases


def nothing(queue: Queue) -> bool:
    return queue.lease("w", 10, alone=False) == []


def all_ended(queue: Queue) -> None:
    wait_until(lambda: queue.stats().open == 0, message="something is still pending or in flight")
    assert nothing(queue)


def end_done(lease: Lease) -> None:
    lease.done(Outcome.WRITTEN)


def end_rejected(lease: Lease) -> None:
    lease.reject(BROKEN)


# Putting and leasing


def test_an_empty_queue_has_nothing_to_do(queue: Queue) -> None:
    assert queue.lease("w", 5, alone=True) == []
    assert queue.stats() == QueueStats()
    assert queue.suspects() == 0


def test_put_returns_how_many_jobs_were_added(queue: Queue) -> None:
    assert queue.put([]) == 0
    assert queue.put([job("a"), job("b"), job("b")]) == 2
    wait_until(lambda: queue.stats().pending == 2)


def test_a_lease_carries_the_whole_job(queue: Queue) -> None:
    whole = Job("f" * 64, ImageRef("dossier/été 'x';\n.jpg", 'W/"1"', 2**40), "out/été.png")
    queue.put([whole])
    (lease,) = take(queue, 1)
    assert lease.job == whole
    assert (lease.alone, lease.suspect) == (False, False)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_zero_or_less_leases_nothing(queue: Queue, limit: int) -> None:
    queue.put([job("a")])
    assert queue.lease("w", limit, alone=True) == []
    assert ids(take(queue, 1)) == ["a@1"]


def test_no_more_jobs_are_leased_than_the_limit(queue: Queue) -> None:
    queue.put([job(key) for key in "abcde"])
    first = take(queue, 2)
    assert ids([*first, *take(queue, 3)]) == ["a@1", "b@1", "c@1", "d@1", "e@1"]


def test_a_leased_job_is_not_leased_again(queue: Queue) -> None:
    queue.put([job("a")])
    take(queue, 1)
    assert queue.lease("two", 10, alone=True) == []


def test_an_idle_worker_gets_healthy_jobs(queue: Queue) -> None:
    queue.put([job("a")])
    (lease,) = take(queue, 1, alone=True)
    assert not lease.alone


@pytest.mark.parametrize("end", [end_done, end_rejected])
def test_one_output_is_made_by_one_at_a_time(queue: Queue, end: Callable[[Lease], None]) -> None:
    queue.put([job("a.jpg", output="a.png"), job("a.webp", output="a.png"), job("b")])
    leases = take(queue, 2, waiting=1)
    assert nothing(queue)
    (first,) = (lease for lease in leases if lease.job.output == "a.png")
    end(first)
    assert ids([first, *take(queue, 1)]) == ["a.jpg@1", "a.webp@1"]


def test_a_new_version_waits_for_the_leased_one_even_if_it_has_another_output(queue: Queue) -> None:
    queue.put([job("a", "1", output="old/a.png")])
    (old,) = take(queue, 1)
    queue.put([job("a", "2", output="new/a.png")])
    assert nothing(queue)
    old.done(Outcome.WRITTEN)
    assert ids(take(queue, 1)) == ["a@2"]


# Ending


@pytest.mark.parametrize("outcome", [Outcome.WRITTEN, Outcome.ALREADY_DONE, Outcome.GONE, Outcome.STALE])
def test_a_done_job_is_not_leased_again(queue: Queue, outcome: Outcome) -> None:
    queue.put([job("a")])
    (lease,) = take(queue, 1)
    wait_until(lambda: queue.stats().in_flight == 1)
    lease.done(outcome)
    all_ended(queue)


def test_a_rejected_job_is_not_leased_again(queue: Queue) -> None:
    queue.put([job("a")])
    take(queue, 1)[0].reject(BROKEN)
    all_ended(queue)


def test_done_is_not_for_the_rejected(queue: Queue) -> None:
    queue.put([job("a")])
    (lease,) = take(queue, 1)
    with pytest.raises(ValueError, match="reject"):
        lease.done(Outcome.REJECTED)
    wait_until(lambda: queue.stats().in_flight == 1)


def test_a_lease_ends_once(queue: Queue) -> None:
    queue.put([job("a")])
    (lease,) = take(queue, 1)
    lease.done(Outcome.WRITTEN)
    lease.release()
    lease.reject(BROKEN)
    all_ended(queue)


def test_a_released_job_is_leased_again_and_is_no_suspect(queue: Queue) -> None:
    queue.put([job("a")])
    for _ in range(3):
        (lease,) = take(queue, 1)
        assert not lease.alone
        lease.release()


def test_a_delayed_release_waits_for_its_time(queue: Queue, clock: Clock) -> None:
    queue.put([job("a"), job("b")])
    (lease, _) = take(queue, 2)
    lease.release(30.0)
    clock.now += 29
    assert nothing(queue)
    clock.now += 1
    assert ids(take(queue, 1)) == [lease.job.id]


# Processes that die, as a broker sees them


PRELUDE = """
import os, signal
from tests.contract.test_queue import body_of, jobs_of
from watcher.queues.broker import BrokerQueue
from watcher.core.jobs import Outcome
import time
queue = BrokerQueue(broker, jobs_of, body_of, patience=0.5, clock=time.time, counts=Counts())
"""
HOLD_TWO = """
leases = []
while len(leases) < 2:
    leases += queue.lease("doomed", 2 - len(leases), alone=False)
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared(site: Site, clock: Clock) -> Iterator[BrokerQueue]:
    """A queue on each broker."""
    with closing(broker_queue(site, clock)) as queue:
        yield queue


def test_what_a_killed_worker_held_is_suspect_and_nothing_else(site: Site, shared: BrokerQueue) -> None:
    shared.put([job("a"), job("b")])
    with site.child(PRELUDE + HOLD_TWO) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        shared.put([job("c")])
        (healthy,) = take(shared, 1)
        assert (healthy.job.ref.key, healthy.suspect) == ("c", False)
        process.kill()
        process.wait()
        healthy.done(Outcome.WRITTEN)
        suspects = take(shared, 2)
        assert all(suspect.suspect and not suspect.alone for suspect in suspects)
        assert ids(suspects) == ["a@1", "b@1"]
        for suspect in suspects:
            suspect.done(Outcome.WRITTEN)
    all_ended(shared)


@pytest.mark.parametrize("name", ["sqlite", "memory"])
def test_urgent_jobs_overtake_the_backlog_and_every_fourth_lease_goes_by_age(
    request: pytest.FixtureRequest, clock: Clock, name: str
) -> None:
    with QUEUES[name](request, clock) as queue:
        queue.put([job(f"old{n}") for n in range(6)])
        clock.now += 1
        queue.put([job(f"new{n}") for n in range(6)], urgent=True)
        order = [lease.job.ref.key for _ in range(12) for lease in queue.lease("w", 1, alone=False)]
    wanted = ["new0", "new1", "new2", "old0", "new3", "new4", "new5", "old1", "old2", "old3", "old4", "old5"]
    assert order == wanted


@pytest.mark.parametrize("name", ["sqlite", "memory"])
def test_a_large_lease_is_shared_out_alike(request: pytest.FixtureRequest, clock: Clock, name: str) -> None:
    with QUEUES[name](request, clock) as queue:
        queue.put([job(f"old{n}") for n in range(9)])
        clock.now += 1
        queue.put([job(f"new{n}") for n in range(9)], urgent=True)
        keys = [lease.job.ref.key for lease in queue.lease("w", 8, alone=True)]
    assert keys == [*(f"new{n}" for n in range(6)), "old0", "old1"]


@pytest.mark.parametrize("name", ["sqlite", "memory"])
def test_a_pending_job_becomes_urgent_when_it_is_put_again(
    request: pytest.FixtureRequest, clock: Clock, name: str
) -> None:
    with QUEUES[name](request, clock) as queue:
        queue.put([job("old"), job("hurried")])
        assert queue.put([job("hurried")], urgent=True) == 0
        (lease,) = queue.lease("w", 1, alone=False)
        assert lease.job.ref.key == "hurried"
        lease.release()
        (again,) = queue.lease("w", 1, alone=False)
        assert again.job.ref.key == "hurried", "it stays urgent when it is released"
