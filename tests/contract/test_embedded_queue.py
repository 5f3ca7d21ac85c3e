"""The contract of an embedded queue, which knows every job and notices deaths of workers. Add another to EMBEDDED."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from tests.equipment.notes import WRITER, done, rejected
from tests.equipment.support import Clock
from watcher.core.jobs import DEATHS_TO_QUARANTINE, ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.queues.base import EmbeddedQueue, Queue, QueueStats
from watcher.queues.sqlite import SUSPECT_MAX_WAIT, SqliteQueue

START = 1_700_000_000.0
BROKEN = Rejection(Reason.TRUNCATED, "The file ends early: copy it again.")


Opener = Callable[[Path, Clock], AbstractContextManager[EmbeddedQueue]]


def open_sqlite(folder: Path, clock: Clock) -> AbstractContextManager[EmbeddedQueue]:
    return closing(SqliteQueue(folder / "queue.sqlite", clock=clock))


EMBEDDED: dict[str, Opener] = {"sqlite": open_sqlite}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture(params=sorted(EMBEDDED))
def embedded(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[EmbeddedQueue]:
    with EMBEDDED[request.param](tmp_path, clock) as opened:
        yield opened


def job(key: str, version: str = "1", *, output: str | None = None, size: int = 10) -> Job:
    return Job(f"{key}@{version}", ImageRef(key, version, size), output or f"{key}.png")


def ids(leases: Sequence[Lease]) -> list[str]:
    return [lease.job.id for lease in leases]


def lease_ids(queue: Queue, limit: int = 10, *, owner: str = "w", alone: bool = False) -> list[str]:
    return ids(queue.lease(owner, limit, alone=alone))


def die_alone(queue: EmbeddedQueue, *, blame: bool = True) -> list[tuple[Job, Rejection]]:
    """A worker leases one suspect and crashes."""
    (lease,) = queue.lease("doomed", 1, alone=True)
    assert lease.alone
    return queue.abandon("doomed", blame=blame)


# Putting


def test_putting_counts_only_what_is_new(embedded: EmbeddedQueue) -> None:
    assert embedded.put([]) == 0
    assert embedded.put([job("a"), job("b")]) == 2
    assert embedded.put([job("b"), job("c"), job("c")]) == 1
    assert embedded.stats().pending == 3


def end_never(lease: Lease) -> None:
    """Stays leased."""


def end_done(lease: Lease) -> None:
    lease.done(Outcome.WRITTEN)


def end_rejected(lease: Lease) -> None:
    lease.reject(BROKEN)


@pytest.mark.parametrize("end", [end_never, end_done, end_rejected])
def test_a_known_job_is_not_added_again_in_whatever_state(
    embedded: EmbeddedQueue, end: Callable[[Lease], None]
) -> None:
    embedded.put([job("a")])
    end(embedded.lease("w", 1, alone=False)[0])
    before = embedded.stats()
    assert embedded.put([job("a")]) == 0
    assert embedded.stats() == before
    assert lease_ids(embedded, alone=True) == []


def test_a_key_that_is_no_valid_text_is_a_key(embedded: EmbeddedQueue) -> None:
    odd = job(b"caf\xe9/\xff.jpg".decode("utf-8", "surrogateescape"))
    embedded.put([Job("odd", odd.ref, odd.output)])
    (lease,) = embedded.lease("w", 1, alone=False)
    assert lease.job.ref == odd.ref
    lease.reject(Rejection(Reason.UNREADABLE, f"cannot read {odd.ref.key}"))
    assert [kept.detail for _, kept in embedded.rejected()] == [f"cannot read {odd.ref.key}"]
    assert [again.ref for again in embedded.retry(odd.ref.key)] == [odd.ref]


# Leasing


def test_the_oldest_is_first(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("z"), job("y")])
    clock.now += 1
    embedded.put([job("a")])
    assert lease_ids(embedded, 2) == ["z@1", "y@1"]
    assert lease_ids(embedded, 2) == ["a@1"]


def test_one_output_is_made_by_one_at_a_time_within_a_claim(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a.jpg", output="a.png"), job("a.webp", output="a.png"), job("b")])
    first = embedded.lease("w", 10, alone=False)
    assert ids(first) == ["a.jpg@1", "b@1"]
    first[0].done(Outcome.WRITTEN)
    assert lease_ids(embedded) == ["a.webp@1"]


def test_one_output_is_made_by_one_at_a_time_across_claims(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a.jpg", output="a.png")])
    (first,) = embedded.lease("one", 1, alone=False)
    embedded.put([job("a.webp", output="a.png")])
    assert lease_ids(embedded, owner="two") == []
    first.reject(BROKEN)
    assert lease_ids(embedded, owner="two") == ["a.webp@1"]


# New versions


def test_a_new_version_replaces_one_that_waits(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1"), job("b")])
    assert embedded.put([job("a", "2")]) == 1
    assert embedded.stats().pending == 2
    assert lease_ids(embedded) == ["b@1", "a@2"]


def test_the_last_version_in_one_put_is_the_newest(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1"), job("a", "2")])
    assert lease_ids(embedded) == ["a@2"]


def test_a_new_version_replaces_one_that_is_done(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1")])
    embedded.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
    embedded.put([job("a", "2")])
    assert embedded.stats().ended == {}
    assert lease_ids(embedded) == ["a@2"]


def test_a_new_version_replaces_one_that_is_rejected(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1")])
    embedded.lease("w", 1, alone=False)[0].reject(BROKEN)
    embedded.put([job("a", "2")])
    assert embedded.rejected() == []
    assert embedded.retry() == []
    assert lease_ids(embedded) == ["a@2"]


@pytest.mark.parametrize("end", [end_done, end_rejected, lambda lease: lease.release()])
def test_a_new_version_waits_for_the_leased_one_and_replaces_it(
    embedded: EmbeddedQueue, end: Callable[[Lease], None]
) -> None:
    embedded.put([job("a", "1")])
    (old,) = embedded.lease("w", 1, alone=False)
    assert embedded.put([job("a", "2")]) == 1
    assert embedded.put([job("a", "3")]) == 1
    assert lease_ids(embedded, owner="other") == []
    assert (embedded.stats().in_flight, embedded.stats().pending) == (1, 1)
    end(old)
    assert embedded.stats() == QueueStats(pending=1, pending_bytes=10, oldest_pending=START)
    assert lease_ids(embedded) == ["a@3"]


def test_a_new_version_waits_even_where_it_makes_another_output(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1", output="old/a.png")])
    (old,) = embedded.lease("w", 1, alone=False)
    embedded.put([job("a", "2", output="new/a.png")])
    assert lease_ids(embedded, alone=True) == []
    old.done(Outcome.WRITTEN)
    assert lease_ids(embedded) == ["a@2"]


def test_a_dead_workers_old_version_gives_way_to_the_new_one(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1")])
    embedded.lease("w", 1, alone=False)
    embedded.put([job("a", "2")])
    assert embedded.abandon("w", blame=True) == []
    assert embedded.stats().suspects == 0
    assert lease_ids(embedded) == ["a@2"]


# Ending


@pytest.mark.parametrize("outcome", [Outcome.WRITTEN, Outcome.ALREADY_DONE, Outcome.GONE, Outcome.STALE])
def test_done_is_counted_by_its_outcome(embedded: EmbeddedQueue, outcome: Outcome) -> None:
    embedded.put([job("a")])
    (lease,) = embedded.lease("w", 1, alone=False)
    lease.done(outcome)
    lease.done(outcome)
    assert embedded.stats() == QueueStats(ended={outcome.value: 1})


def test_a_released_job_is_there_for_anyone_in_its_old_place(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b")])
    (lease,) = embedded.lease("one", 1, alone=False)
    lease.release()
    assert lease_ids(embedded, owner="two") == ["a@1", "b@1"]


def test_a_delayed_release_waits_for_its_time(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("a"), job("b")])
    embedded.lease("w", 1, alone=False)[0].release(30.0)
    assert embedded.stats().pending == 2
    clock.now += 29
    assert lease_ids(embedded, alone=True) == ["b@1"]
    clock.now += 1
    assert lease_ids(embedded, alone=True) == ["a@1"]


def test_a_lease_ends_once(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    (lease,) = embedded.lease("w", 1, alone=False)
    lease.done(Outcome.WRITTEN)
    lease.release()
    lease.reject(BROKEN)
    assert embedded.stats() == QueueStats(ended={"written": 1})


def test_a_rejection_is_final_even_for_a_late_done(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    (lease,) = embedded.lease("w", 1, alone=False)
    lease.reject(BROKEN)
    lease.done(Outcome.WRITTEN)
    assert embedded.stats() == QueueStats(ended={"rejected": 1}, reasons={"truncated": 1})


# Rejected jobs


def reject_all(queue: Queue, clock: Clock, keys: Sequence[str]) -> None:
    for key in keys:
        queue.put([job(key)])
        queue.lease("w", 1, alone=False)[0].reject(Rejection(Reason.TRUNCATED, f"{key} ends early"))
        clock.now += 1


def test_rejected_jobs_are_listed_newest_first(embedded: EmbeddedQueue, clock: Clock) -> None:
    reject_all(embedded, clock, ["a", "b", "c"])
    assert [(kept.id, why.detail) for kept, why in embedded.rejected(2)] == [
        ("c@1", "c ends early"),
        ("b@1", "b ends early"),
    ]
    assert len(embedded.rejected()) == 3


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("*", ["shoes/a.jpg", "shoes/b/C.jpg", "hats/[1].jpg"]),
        ("shoes/*", ["shoes/a.jpg", "shoes/b/C.jpg"]),
        ("shoes/?.jpg", ["shoes/a.jpg"]),
        ("*c.jpg", []),
        ("*[!a].jpg", ["shoes/b/C.jpg", "hats/[1].jpg"]),
        ("hats/[[]1].jpg", ["hats/[1].jpg"]),
        ("shoes", []),
    ],
)
def test_retry_matches_keys_as_a_shell_does(
    embedded: EmbeddedQueue, clock: Clock, pattern: str, matching: list[str]
) -> None:
    reject_all(embedded, clock, ["shoes/a.jpg", "shoes/b/C.jpg", "hats/[1].jpg"])
    assert [again.ref.key for again in embedded.retry(pattern)] == matching
    stats = embedded.stats()
    assert (stats.pending, stats.reasons.get("truncated", 0)) == (len(matching), 3 - len(matching))
    assert lease_ids(embedded) == [f"{key}@1" for key in matching]


def test_retry_leaves_alone_what_is_not_rejected(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b"), job("c")])
    embedded.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
    embedded.lease("w", 1, alone=False)
    before = embedded.stats()
    assert embedded.retry() == []
    assert embedded.stats() == before


# Urgent jobs


def test_urgent_jobs_are_counted_while_they_are_pending(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.put([job("b"), job("c")], urgent=True)
    assert embedded.urgent() == 2
    embedded.lease("w", 1, alone=False)
    assert embedded.urgent() == 1


# Workers that die


def test_suspects_are_replayed_last_and_alone(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b"), job("c")])
    embedded.lease("dead", 2, alone=False)
    assert embedded.abandon("dead", blame=True) == []
    assert embedded.stats().suspects == embedded.suspects() == 2
    assert lease_ids(embedded, alone=True) == ["c@1"]
    assert lease_ids(embedded, alone=False) == []
    (suspect,) = embedded.lease("w", 10, alone=True)
    assert (suspect.job.id, suspect.alone) == ("a@1", True)


def test_only_the_dead_workers_leases_become_suspects(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b")])
    embedded.lease("dead", 1, alone=False)
    embedded.lease("alive", 1, alone=False)
    embedded.abandon("dead", blame=True)
    assert (embedded.stats().suspects, embedded.stats().in_flight) == (1, 1)


def test_the_last_suspect_is_leased_before_everything_on_request(embedded: EmbeddedQueue, clock: Clock) -> None:
    assert not embedded.lease_last_suspect("w")
    embedded.put([job("a"), job("b"), job("c"), job("d")])
    for _ in range(2):
        embedded.lease("dead", 1, alone=False)
        embedded.abandon("dead", blame=True)
        clock.now += 1
    (suspect,) = embedded.lease_last_suspect("w")
    assert (suspect.job.id, suspect.alone) == ("b@1", True)
    assert ids(embedded.lease_last_suspect("other")) == ["a@1"]
    assert not embedded.lease_last_suspect("w"), "neither what is leased nor what is no suspect"


def test_a_suspect_that_waited_long_goes_before_healthy_jobs(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("a"), job("b"), job("c")])
    embedded.lease("dead", 1, alone=False)
    embedded.abandon("dead", blame=True)
    clock.now += SUSPECT_MAX_WAIT
    assert lease_ids(embedded, 1, alone=True) == ["b@1"]
    clock.now += 1
    assert lease_ids(embedded, alone=True) == ["a@1"]
    assert lease_ids(embedded, alone=True) == ["c@1"]


def test_an_overdue_suspect_is_not_leased_to_a_busy_worker(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("a"), job("b")])
    embedded.lease("dead", 1, alone=False)
    embedded.abandon("dead", blame=True)
    clock.now += SUSPECT_MAX_WAIT + 1
    assert lease_ids(embedded, alone=False) == ["b@1"]


def test_the_suspect_with_the_fewest_deaths_is_first(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b")])
    embedded.lease("dead", 2, alone=False)
    embedded.abandon("dead", blame=True)
    die_alone(embedded)
    assert lease_ids(embedded, alone=True) == ["b@1"]
    assert lease_ids(embedded, alone=True) == ["a@1"]


def test_done_clears_a_suspect(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.lease("dead", 1, alone=False)
    embedded.abandon("dead", blame=True)
    embedded.lease("w", 1, alone=True)[0].done(Outcome.WRITTEN)
    embedded.reopen(["a@1"])
    assert embedded.stats().suspects == 0
    assert lease_ids(embedded, alone=False) == ["a@1"]


def test_release_neither_clears_a_suspect_nor_counts_a_death(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("a"), job("b")])
    embedded.lease("dead", 1, alone=False)
    embedded.abandon("dead", blame=True)
    embedded.lease("w", 1, alone=False)[0].release(5.0)
    embedded.lease("w", 1, alone=True)[0].release(5.0)
    clock.now += 5
    assert embedded.stats().suspects == 1
    assert lease_ids(embedded, alone=False) == ["b@1"]
    assert embedded.lease("w", 1, alone=True)[0].alone


def test_a_job_that_kills_its_worker_alone_is_quarantined(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.lease("doomed", 1, alone=False)
    assert embedded.abandon("doomed", blame=True) == [], "it was not handed out alone"
    for _ in range(DEATHS_TO_QUARANTINE - 1):
        assert die_alone(embedded) == []
    ((killer, rejection),) = die_alone(embedded)
    assert (killer, rejection.reason) == (job("a"), "kills_worker")
    assert "alphadrop retry" in rejection.detail
    assert embedded.rejected() == [(killer, rejection)]
    assert embedded.stats() == QueueStats(ended={"rejected": 1}, reasons={"kills_worker": 1})


def test_a_retried_job_starts_with_no_deaths_counted(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.lease("doomed", 1, alone=False)
    embedded.abandon("doomed", blame=True)
    for _ in range(DEATHS_TO_QUARANTINE):
        die_alone(embedded)
    assert [again.id for again in embedded.retry()] == ["a@1"]
    assert lease_ids(embedded, owner="doomed", alone=False) == ["a@1"]
    embedded.abandon("doomed", blame=True)
    for _ in range(DEATHS_TO_QUARANTINE - 1):
        assert die_alone(embedded) == []


def test_deaths_without_blame_never_quarantine(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.lease("doomed", 1, alone=False)
    embedded.abandon("doomed", blame=False)
    for _ in range(DEATHS_TO_QUARANTINE * 2):
        assert die_alone(embedded, blame=False) == []
    assert embedded.stats().suspects == 1


def test_a_replaced_version_is_forgotten_and_not_quarantined(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1")])
    embedded.lease("doomed", 1, alone=False)
    embedded.abandon("doomed", blame=True)
    for _ in range(DEATHS_TO_QUARANTINE - 1):
        die_alone(embedded)
    embedded.lease("doomed", 1, alone=True)
    embedded.put([job("a", "2")])
    assert embedded.abandon("doomed", blame=True) == []
    assert embedded.rejected() == []
    assert lease_ids(embedded, alone=False) == ["a@2"]


def test_a_late_done_of_an_abandoned_lease_counts(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    (late,) = embedded.lease("w", 1, alone=False)
    embedded.abandon("w", blame=True)
    late.done(Outcome.WRITTEN)
    assert embedded.stats() == QueueStats(ended={"written": 1})


@pytest.mark.parametrize("next_owner", ["w", "other"])
@pytest.mark.parametrize("end", [end_rejected, lambda lease: lease.release()])
def test_an_abandoned_lease_cannot_be_released_or_rejected(
    embedded: EmbeddedQueue, end: Callable[[Lease], None], next_owner: str
) -> None:
    embedded.put([job("a")])
    (late,) = embedded.lease("w", 1, alone=False)
    embedded.abandon("w", blame=True)
    end(late)
    assert embedded.stats().suspects == 1
    embedded.lease(next_owner, 1, alone=True)
    end(late)
    assert embedded.stats().in_flight == 1


def test_at_start_every_lease_becomes_a_suspect_without_a_death(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b"), job("c")])
    embedded.lease("one", 1, alone=False)
    for _ in range(DEATHS_TO_QUARANTINE + 1):
        embedded.lease("two", 1, alone=False)
        assert embedded.abandon_all() > 0
        embedded.lease("one", 1, alone=True)
    assert embedded.abandon_all() == 1
    assert embedded.abandon_all() == 0
    assert embedded.rejected() == []
    assert embedded.stats().pending == 3


# The sink's truth


def test_reopen_brings_back_done_jobs_only(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("done"), job("rejected"), job("leased"), job("pending")])
    embedded.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
    embedded.lease("w", 1, alone=False)[0].reject(BROKEN)
    embedded.lease("w", 1, alone=False)
    clock.now += 100
    assert embedded.reopen(["done@1", "rejected@1", "leased@1", "pending@1", "unknown@1"]) == 1
    assert embedded.stats().oldest_pending == START
    assert lease_ids(embedded) == ["pending@1", "done@1"]


def test_a_reopened_job_waits_since_it_was_reopened(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("a")])
    embedded.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
    clock.now += 100
    embedded.reopen(["a@1"])
    assert embedded.stats().oldest_pending == START + 100


def test_a_forgotten_key_is_unknown(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b")])
    embedded.forget_key("a")
    assert embedded.stats().pending == 1
    assert embedded.put([job("a")]) == 1


def test_forgetting_a_key_does_not_touch_a_lease(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a", "1")])
    (lease,) = embedded.lease("w", 1, alone=False)
    embedded.put([job("a", "2")])
    embedded.forget_key("a")
    assert (embedded.stats().in_flight, embedded.stats().pending) == (1, 0)
    lease.done(Outcome.GONE)
    assert embedded.stats().ended == {"gone": 1}


# Figures


def test_stats_count_jobs_by_state_and_outcome(embedded: EmbeddedQueue, clock: Clock) -> None:
    embedded.put([job("suspect", size=1), job("done", size=2), job("gone", size=4), job("bad", size=8)])
    clock.now += 10
    embedded.put([job("leased", size=16), job("waiting", size=32)])
    embedded.lease("dead", 1, alone=False)
    embedded.abandon("dead", blame=True)
    done, gone, bad, _leased = embedded.lease("w", 4, alone=False)
    done.done(Outcome.WRITTEN)
    gone.done(Outcome.GONE)
    bad.reject(BROKEN)
    stats = embedded.stats()
    assert stats == QueueStats(
        pending=2,
        in_flight=1,
        suspects=1,
        pending_bytes=33,
        oldest_pending=START,
        ended={"written": 1, "gone": 1, "rejected": 1},
        reasons={"truncated": 1},
    )
    assert stats.open == 3


# Notifications


def test_what_ends_a_lease_leaves_its_notification_in_the_outbox(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a"), job("b"), job("c")])
    first, second, third = embedded.lease("w", 3, alone=False)
    first.done(Outcome.WRITTEN, done("a"))
    second.reject(BROKEN, rejected("b"))
    third.done(Outcome.GONE)
    assert [waiting.id for waiting in embedded.outbox.due(10)] == [done("a").id, rejected("b").id]


def test_a_lease_that_is_not_ours_any_more_announces_no_rejection(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    (lost,) = embedded.lease("w", 1, alone=False)
    embedded.abandon("w", blame=False)
    lost.reject(BROKEN, rejected("a"))
    assert embedded.outbox.stats().pending == 0


def test_the_image_that_kills_its_worker_is_announced_when_it_is_quarantined(embedded: EmbeddedQueue) -> None:
    embedded.put([job("a")])
    embedded.lease("doomed", 1, alone=True)
    embedded.abandon("doomed", blame=True)
    for _ in range(DEATHS_TO_QUARANTINE):
        assert embedded.outbox.stats().pending == 0
        embedded.lease("doomed", 1, alone=True)
        embedded.abandon("doomed", blame=True, announce=WRITER.rejected)
    (waiting,) = embedded.outbox.due(10)
    assert b"kills_worker" in waiting.body
