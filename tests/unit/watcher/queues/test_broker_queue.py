"""The queue on a broker: leases, requeueing, extensions and acknowledgements."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.equipment.notes import WRITER, done, rejected
from tests.equipment.support import Clock, wait_until
from watcher.core.counts import Counts
from watcher.core.errors import Denied, NotAnEvent, Unavailable
from watcher.core.jobs import ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.queues.acknowledger import ATTEMPTS
from watcher.queues.broker import LOCAL_RETRIES, BrokerQueue
from watcher.queues.brokers.base import Depth, Message
from watcher.queues.in_flight import MESSAGE_BACKOFF
from watcher.queues.lease_extender import LeaseExtender
from watcher.queues.outbox import MAX_HELD
from watcher.testing import MemoryBroker

BROKEN = Rejection(Reason.TRUNCATED, "The file ends early: copy it again.")
START = 1_700_000_000.0


def job(key: str, output: str = "") -> Job:
    return Job(f"{key}@1", ImageRef(key, "1", 10), output or f"{key}.png")


def jobs_of(body: bytes) -> list[Job]:
    """`a b:out.png` announces two jobs, of which the second has an output of its own name."""
    if body == b"nonsense":
        raise NotAnEvent("no JSON")
    return [job(*word.split(":")) for word in body.decode().split()]


def body_of(job: Job) -> bytes:
    return f"{job.ref.key}:{job.output}".encode()


@contextmanager
def opened(
    broker: MemoryBroker,
    *,
    clock: Callable[[], float] | None = None,
    read: Callable[[bytes], Sequence[Job]] = jobs_of,
    patience: float = 0.0,
    counts: Counts | None = None,
) -> Iterator[BrokerQueue]:
    now = clock or Clock(START)
    with closing(BrokerQueue(broker, read, body_of, patience=patience, clock=now, counts=counts or Counts())) as queue:
        yield queue


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker(clock=clock)


@pytest.fixture
def queue(broker: MemoryBroker, clock: Clock) -> Iterator[BrokerQueue]:
    with opened(broker, clock=clock) as queue:
        yield queue


def keys(leases: Sequence[Lease]) -> list[str]:
    return [lease.job.ref.key for lease in leases]


def lease(queue: BrokerQueue, limit: int = 10, *, alone: bool = False) -> list[Lease]:
    return queue.lease("w", limit, alone=alone)


def die(broker: MemoryBroker, times: int = 1) -> None:
    """Processes take everything and die of it."""
    for _ in range(times):
        broker.receive(100, 0)
        broker.redeliver()


# Messages and their jobs


def test_what_is_put_is_leased_and_acknowledged(queue: BrokerQueue, broker: MemoryBroker) -> None:
    assert queue.put([job("a"), job("b", "other.png")]) == 2
    leases = lease(queue)
    assert [held.job for held in leases] == [job("a"), job("b", "other.png")]
    assert [(held.alone, held.suspect, held.found_at) for held in leases] == [(False, False, START)] * 2
    leases[0].done(Outcome.WRITTEN)
    leases[1].reject(BROKEN)
    wait_until(lambda: not broker.bodies)


def test_the_same_job_twice_in_a_put_is_one_message(queue: BrokerQueue, broker: MemoryBroker) -> None:
    assert queue.put([job("a"), job("a")]) == 1
    assert queue.put([]) == 0
    assert len(broker.bodies) == 1


def test_a_message_is_acknowledged_when_all_its_jobs_have_ended(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a b c", b"d"])
    a, b, c, d = lease(queue)
    a.done(Outcome.WRITTEN)
    c.reject(BROKEN)
    d.done(Outcome.GONE)
    wait_until(lambda: broker.bodies == [b"a b c"])
    b.done(Outcome.ALREADY_DONE)
    wait_until(lambda: not broker.bodies)


def test_a_message_about_nothing_is_acknowledged_at_once(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"", b"a"])
    assert keys(lease(queue)) == ["a"]
    wait_until(lambda: broker.bodies == [b"a"])


def test_jobs_of_a_message_beyond_the_limit_wait_in_this_process(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a b c", b"d"])
    assert keys(lease(queue, 2)) == ["a", "b"]
    assert keys(lease(queue, 2)) == ["c", "d"]


def test_no_more_messages_are_received_than_the_limit_allows(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a", b"b", b"c"])
    assert lease(queue, 0) == []
    assert lease(queue, -1) == []
    assert keys(lease(queue, 2)) == ["a", "b"]
    assert broker.depth().pending == 1


def test_an_empty_answer_says_whether_it_was_waited_for(broker: MemoryBroker) -> None:
    broker.send([b"a"])
    with opened(broker, patience=0.001) as queue:
        assert not queue.lease("w", 1, alone=True).waited
        assert not queue.lease("w", 0, alone=False).waited
        assert queue.lease("w", 5, alone=False).waited


def test_a_lease_ends_once(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a b"])
    a, b = lease(queue)
    for _ in range(2):
        a.done(Outcome.WRITTEN)
    a.release()
    a.reject(BROKEN)
    assert lease(queue) == []
    with pytest.raises(ValueError, match="reject"):
        b.done(Outcome.REJECTED)
    b.done(Outcome.WRITTEN)
    wait_until(lambda: not broker.bodies)


@pytest.mark.parametrize("second", [b"a:other.png", b"other:a.png"])
def test_two_jobs_with_the_same_key_or_output_are_never_leased_together(
    queue: BrokerQueue, broker: MemoryBroker, second: bytes
) -> None:
    broker.send([b"a:a.png", second, b"c"])
    first, c = lease(queue)
    assert keys([first, c]) == ["a", "c"]
    assert lease(queue) == []
    first.done(Outcome.WRITTEN)
    assert keys(lease(queue)) == [second.decode().split(":")[0]]


# Messages that cannot be read


def test_a_message_that_is_no_event_is_set_aside_and_logged(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"nonsense", b"a"])
    with capture_logs() as lines:
        assert keys(lease(queue)) == ["a"]
    assert broker.set_aside_bodies == [b"nonsense"]
    assert [(line["event"], line["reason"], line["body"]) for line in lines] == [
        ("message_dead_lettered", "no JSON", "nonsense")
    ]


def test_no_more_than_the_beginning_of_a_message_is_logged(broker: MemoryBroker, clock: Clock) -> None:
    def no_event(body: bytes) -> list[Job]:
        raise NotAnEvent("no JSON")

    broker.send([b"\xff" + b"x" * 5000])
    with opened(broker, clock=clock, read=no_event) as queue, capture_logs() as lines:
        lease(queue)
    assert [len(line["body"]) for line in lines] == [300]


def test_a_message_that_cannot_be_set_aside_is_later(queue: BrokerQueue, broker: MemoryBroker, clock: Clock) -> None:
    broker.send([b"nonsense"])
    broker.failing["dead_letter"] = Unavailable("no network")
    assert lease(queue) == []
    broker.failing.clear()
    clock.now += 5
    assert lease(queue) == []
    assert (broker.bodies, broker.set_aside_bodies) == ([], [b"nonsense"])


def test_a_message_that_cannot_be_read_now_is_read_a_little_later(broker: MemoryBroker, clock: Clock) -> None:
    bucket_answers = False

    def read(body: bytes) -> list[Job]:
        if not bucket_answers:
            raise Unavailable("no network")
        return jobs_of(body)

    broker.send([b"a"])
    with opened(broker, clock=clock, read=read) as queue:
        assert lease(queue) == []
        bucket_answers = True
        assert lease(queue) == [], "not at once"
        clock.now += 5
        (held,) = lease(queue)
        assert not held.alone


def test_a_fault_of_the_reader_is_not_hidden(broker: MemoryBroker, clock: Clock) -> None:
    def faulty(body: bytes) -> list[Job]:
        raise ZeroDivisionError

    broker.send([b"a"])
    with opened(broker, clock=clock, read=faulty) as queue, pytest.raises(ZeroDivisionError):
        lease(queue)
    assert broker.bodies == [b"a"]


# Suspects


def test_a_suspect_is_leased_beside_other_jobs_and_marked(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    die(broker)
    broker.send([b"b", b"c"])
    leases = lease(queue)
    assert [(held.job.ref.key, held.suspect, held.alone) for held in leases] == [
        ("a", True, False),
        ("b", False, False),
        ("c", False, False),
    ]


def test_suspects_that_wait_here_are_counted(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    die(broker)
    lease(queue)[0].release(60.0)
    assert queue.stats().suspects == 1
    assert queue.suspects() == 0, "none of them waits for empty hands"


# Release


def test_a_released_job_waits_here_and_is_no_suspect(queue: BrokerQueue, broker: MemoryBroker, clock: Clock) -> None:
    broker.send([b"a", b"b"])
    lease(queue)[0].release(5.0)
    assert lease(queue) == []
    assert broker.depth().pending == 0
    clock.now += 5
    (held,) = lease(queue)
    assert (held.job.ref.key, held.alone) == ("a", False)


def test_a_released_job_counts_towards_the_limit(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a", b"b"])
    lease(queue, 1)[0].release(5.0)
    assert lease(queue, 1) == []
    assert keys(lease(queue, 2)) == ["b"]


def test_a_job_that_is_released_too_often_is_requeued_without_a_higher_delivery_count(
    queue: BrokerQueue, broker: MemoryBroker
) -> None:
    broker.send([b"a"])
    for _ in range(LOCAL_RETRIES + 1):
        (held,) = lease(queue)
        held.release()
    wait_until(lambda: broker.depth().pending == 1)
    assert broker.bodies == [b"a"]
    assert [message.deliveries for message in broker.receive(10, 0)] == [1], "an outage is not the image's fault"


def test_a_message_is_requeued_as_a_whole_once_none_of_its_jobs_is_leased(
    queue: BrokerQueue, broker: MemoryBroker
) -> None:
    broker.send([b"a b c"])
    a, b, c = lease(queue)
    a.done(Outcome.WRITTEN)
    for _ in range(LOCAL_RETRIES):
        b.release()
        (b,) = lease(queue)
    b.release()
    assert lease(queue) == []
    assert broker.depth().pending == 0, "c is in work"
    c.done(Outcome.WRITTEN)
    wait_until(lambda: broker.depth().pending == 1)
    assert broker.bodies == [b"a b c"]


def give_up(queue: BrokerQueue) -> None:
    """Release the only job so often that its message is requeued."""
    for _ in range(LOCAL_RETRIES + 1):
        (held,) = lease(queue)
        held.release()


def test_messages_that_may_not_be_requeued_are_retried_in_this_process(clock: Clock) -> None:
    """Returning the message would raise its delivery count, although the image did no harm."""
    broker = MemoryBroker(visibility=None, clock=clock)
    broker.send([b"a"])
    with opened(broker, clock=clock) as queue:
        broker.failing["send"] = Denied("read only")
        with capture_logs() as lines:
            give_up(queue)
            wait_until(lambda: any(line["event"] == "requeue_failed" for line in lines))
        assert lease(queue) == [], "not at once"

        leases: list[Lease] = []

        def look() -> list[Lease]:
            clock.now += MESSAGE_BACKOFF[1]
            leases.extend(lease(queue))
            return leases

        wait_until(look)
        assert not leases[0].alone
        leases[0].done(Outcome.WRITTEN)
        wait_until(lambda: not broker.bodies)


def test_closing_returns_messages_that_may_not_be_requeued(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    lease(queue)[0].release(60.0)
    broker.failing["send"] = Denied("read only")
    queue.close()
    assert [(message.body, message.deliveries) for message in broker.receive(10, 0)] == [(b"a", 2)]


def test_a_queue_that_refuses_new_messages_still_gets_acknowledgements_and_is_leased_from(
    queue: BrokerQueue, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be full: then it takes nothing before something has left it."""
    monkeypatch.setattr("watcher.queues.acknowledger.STALLED_SECONDS", 0.0)
    broker.send([b"a"])
    given_up = lease(queue)[0]
    broker.send([b"b"])
    (done,) = lease(queue)
    broker.failing["send"] = Unavailable("full")
    for _ in range(LOCAL_RETRIES):
        given_up.release()
        (given_up,) = lease(queue)
    with capture_logs() as lines:
        given_up.release()
        wait_until(lambda: any(line["event"] == "acknowledge_failed" for line in lines))
    done.done(Outcome.WRITTEN)
    wait_until(lambda: broker.bodies == [b"a"])
    assert lease(queue) == []


# Heartbeats


def beating() -> MemoryBroker:
    """By the real clock: each message is lost in some seconds unless it is extended."""
    return MemoryBroker(visibility=4.0)


def test_every_message_in_flight_is_extended(clock: Clock) -> None:
    broker, counts = beating(), Counts()
    broker.send([b"leased", b"buffered", b"acknowledged"])
    with opened(broker, counts=counts) as queue:
        _, buffered, acknowledged = lease(queue)
        broker.failing["acknowledge"] = Unavailable("no network")
        buffered.release(1000.0)
        acknowledged.done(Outcome.WRITTEN)
        wait_until(lambda: broker.extended >= 9)
        assert broker.depth().pending == 0
        broker.failing.clear()
        wait_until(lambda: set(broker.bodies) == {b"leased", b"buffered"})
    assert counts.snapshot()["lease_extensions"]["ok"] >= 9


def test_a_failed_extension_is_counted_and_soon_retried() -> None:
    broker, counts = beating(), Counts()
    broker.send([b"a"])
    with opened(broker, counts=counts) as queue:
        lease(queue)
        broker.failing["extend"] = Unavailable("no network")
        wait_until(lambda: counts.snapshot().get("lease_extensions", {}).get("failed"))
        broker.failing.clear()
        wait_until(lambda: broker.extended > 0)
        assert broker.depth().pending == 0, "it was extended before its time was over"


def lose(broker: MemoryBroker) -> list[Message]:
    """Redeliver everything to another consumer."""
    broker.redeliver()
    return broker.receive(10, 0)


def test_there_is_time_for_another_extension_when_one_fails() -> None:
    extender = LeaseExtender(MemoryBroker(visibility=60.0), list, lambda held: False, Counts())
    extender.close()
    assert extender.interval == 20.0


def test_what_is_lost_is_not_started() -> None:
    broker, counts = beating(), Counts()
    broker.send([b"leased", b"buffered"])
    with opened(broker, counts=counts) as queue:
        leased, buffered = lease(queue)
        buffered.release()
        others = lose(broker)
        wait_until(lambda: counts.snapshot().get("lease_extensions", {}).get("lost") == 2)
        assert lease(queue) == []
        leased.done(Outcome.WRITTEN)
        assert len(broker.acknowledge(others)) == 0, "the other one's acknowledgement counts"


def test_what_was_lost_and_is_released_is_not_leased_again() -> None:
    broker, counts = beating(), Counts()
    broker.send([b"a"])
    with opened(broker, counts=counts) as queue:
        (held,) = lease(queue)
        others = lose(broker)
        wait_until(lambda: counts.snapshot().get("lease_extensions", {}).get("lost") == 1)
        held.release()
        assert lease(queue) == []
        assert broker.acknowledge(others) == []
        assert broker.bodies == [], "and it is not sent anew"


# Acknowledgements


def test_acknowledgements_are_retried_until_they_succeed(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    (held,) = lease(queue)
    broker.failing["acknowledge"] = Unavailable("no network")
    with capture_logs() as lines:
        held.done(Outcome.WRITTEN)
        wait_until(lambda: any(line["event"] == "acknowledge_failed" for line in lines))
    broker.failing.clear()
    wait_until(lambda: not broker.bodies)


def test_a_refused_acknowledgement_is_dropped_after_some_attempts(clock: Clock) -> None:
    refused: list[Message] = []

    class Refusing(MemoryBroker):
        def acknowledge(self, messages: Sequence[Message]) -> list[Message]:
            refused.extend(message for message in messages if message.body == b"a")
            return [message for message in messages if message.body == b"a"] + super().acknowledge(
                [message for message in messages if message.body != b"a"]
            )

    broker = Refusing(clock=clock)
    broker.send([b"a", b"b", b"c"])
    with opened(broker, clock=clock) as queue:
        a, b, c = lease(queue)
        a.done(Outcome.WRITTEN)
        b.done(Outcome.WRITTEN)
        wait_until(lambda: len(refused) == ATTEMPTS)
        c.done(Outcome.WRITTEN)
        wait_until(lambda: broker.bodies == [b"a"])
    assert len(refused) == ATTEMPTS


@pytest.mark.parametrize("limit", ["STALLED_SECONDS", "MAX_PENDING"])
def test_nothing_is_leased_while_acknowledgements_fail(
    queue: BrokerQueue, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The work would have to be repeated, and the operator must see the outage."""

    def stands_still() -> bool:
        try:
            lease(queue)
        except Unavailable as error:
            return "acknowledgements fail" in str(error) and "read only" in str(error)
        return False

    broker.send([b"a"])
    (held,) = lease(queue)
    broker.failing["acknowledge"] = Denied("read only")
    held.done(Outcome.WRITTEN)
    assert lease(queue) == [], "a single failure is none"
    monkeypatch.setattr(f"watcher.queues.acknowledger.{limit}", 0)
    wait_until(stands_still)
    broker.send([b"b"])
    assert stands_still()
    broker.failing.clear()
    wait_until(lambda: broker.bodies == [b"b"])
    wait_until(lambda: not stands_still())


def test_many_acknowledgements_do_not_wait(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"%d" % number for number in range(25)])
    for held in lease(queue, 25):
        held.done(Outcome.WRITTEN)
    wait_until(lambda: not broker.bodies)


# The end


def test_closing_requeues_what_was_not_started_and_acknowledges_what_has_finished(
    queue: BrokerQueue, broker: MemoryBroker
) -> None:
    broker.send([b"done", b"released", b"leased"])
    done, released, _leased = lease(queue)
    released.release(60.0)
    done.done(Outcome.WRITTEN)
    queue.close()
    queue.close()
    assert sorted(broker.bodies) == [b"leased", b"released"]
    assert broker.closed
    deliveries = {message.body: message.deliveries for message in broker.receive(10, 0)}
    assert deliveries == {b"leased": 2, b"released": 1}
    with pytest.raises(Unavailable, match="closed"):
        lease(queue)


def test_a_suspect_that_was_not_started_stays_one(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    die(broker)
    lease(queue)[0].release(60.0)
    queue.close()
    assert [message.deliveries for message in broker.receive(10, 0)] == [3]


def test_closing_does_not_wait_forever_for_an_unavailable_broker(
    queue: BrokerQueue, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.queues.broker.FLUSH_SECONDS", 0.1)
    broker.send([b"a"])
    (held,) = lease(queue)
    broker.failing["acknowledge"] = Unavailable("no network")
    held.done(Outcome.WRITTEN)
    queue.close()
    assert broker.bodies == [b"a"]


def test_a_queue_that_was_never_leased_from_is_closed_too(broker: MemoryBroker) -> None:
    with opened(broker) as queue:
        queue.put([job("a")])
    assert broker.closed


@pytest.mark.parametrize("method", ["extend", "acknowledge"])
def test_a_thread_that_dies_ends_leasing(method: str) -> None:
    class Faulty(MemoryBroker):
        pass

    def fault(self: MemoryBroker, messages: Sequence[Message]) -> list[Message]:
        raise ZeroDivisionError

    setattr(Faulty, method, fault)
    broker = Faulty(visibility=0.1)
    broker.send([b"a", b"b"])
    with opened(broker) as queue, capture_logs() as lines:
        lease(queue)[0].done(Outcome.WRITTEN)
        wait_until(lambda: any(line["event"] == "thread_died" for line in lines))
        with pytest.raises(RuntimeError, match="unexpected error"):
            lease(queue)


# A broker that fails


def test_a_broker_that_cannot_be_asked_is_unavailable(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.failing |= {name: Unavailable("no network") for name in ("receive", "send", "depth")}
    for ask in (lambda: lease(queue), lambda: queue.put([job("a")]), queue.stats):
        with pytest.raises(Unavailable):
            ask()


def test_what_is_here_already_is_leased_even_so(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    lease(queue)[0].release()
    broker.failing["receive"] = Unavailable("no network")
    assert keys(lease(queue)) == ["a"]


def test_leasing_waits_for_a_message_that_comes(broker: MemoryBroker) -> None:
    waiting: list[float] = []

    class Sending(MemoryBroker):
        def receive(self, limit: int, wait: float) -> list[Message]:
            waiting.append(wait)
            if wait:
                self.send([b"a"])
            return super().receive(limit, wait)

    with opened(Sending(), patience=30.0) as queue:
        assert keys(lease(queue)) == ["a"]
    assert waiting == [30.0]


def test_leasing_waits_no_longer_than_until_something_is_due(clock: Clock) -> None:
    waits: list[float] = []

    class Noting(MemoryBroker):
        def receive(self, limit: int, wait: float) -> list[Message]:
            waits.append(wait)
            return super().receive(limit, 0)

    broker = Noting(clock=clock)
    broker.send([b"a"])
    with opened(broker, clock=clock, patience=30.0) as queue:
        lease(queue)[0].release(5.0)
        lease(queue)
        clock.now += 5
        lease(queue)
    assert waits == [30.0, 5.0, 0.0]


def test_the_depth_is_not_asked_for_at_every_look(queue: BrokerQueue, broker: MemoryBroker) -> None:
    broker.send([b"a"])
    assert queue.stats().pending == 1
    broker.failing["depth"] = Unavailable("no network")
    assert queue.stats().pending == 1


def test_the_stats_name_what_a_broker_cannot_know(clock: Clock) -> None:
    class LikeRabbit(MemoryBroker):
        """Counts only what its own connection holds."""

        def depth(self) -> Depth:
            return replace(super().depth(), in_flight_everywhere=False)

    with opened(MemoryBroker(clock=clock), clock=clock) as queue:
        assert queue.stats().unknown == {"suspects", "pending_bytes", "oldest_pending", "ended", "reasons"}
    with opened(LikeRabbit(clock=clock), clock=clock) as queue:
        assert "in_flight" in queue.stats().unknown


# Notifications


def test_a_message_is_acknowledged_only_when_its_notifications_are_delivered(
    broker: MemoryBroker, queue: BrokerQueue
) -> None:
    broker.send([b"a b"])
    first, second = lease(queue)
    first.done(Outcome.WRITTEN, done("a"))
    second.reject(BROKEN, rejected("b"))
    assert queue.outbox.stats().pending == 2
    queue.outbox.delivered([queue.outbox.due(10)[0]])
    assert broker.depth() == Depth(0, 1)
    assert keys(lease(queue)) == []
    queue.outbox.delivered(queue.outbox.due(10))
    wait_until(lambda: broker.depth() == Depth(0, 0))


def test_a_notification_that_is_set_aside_lets_its_message_go(broker: MemoryBroker, queue: BrokerQueue) -> None:
    broker.send([b"a"])
    lease(queue)[0].done(Outcome.WRITTEN, done("a"))
    queue.outbox.set_aside(queue.outbox.due(1)[0], "answers 400")
    wait_until(lambda: broker.depth() == Depth(0, 0))


def test_a_process_that_dies_before_the_delivery_leaves_the_message_to_another_and_the_id_stays(
    broker: MemoryBroker, clock: Clock
) -> None:
    broker.send([b"a"])
    ids = []
    for _ in range(2):
        with opened(broker, clock=clock) as queue:
            (one,) = lease(queue)
            one.done(Outcome.WRITTEN, WRITER.done(one.job, one.found_at, [], None))
            one.done(Outcome.WRITTEN, WRITER.done(one.job, one.found_at, [], None))  # a second end changes nothing
            ids += [waiting.id for waiting in queue.outbox.due(10)]
        broker.redeliver()
    assert len(ids) == 2 and len(set(ids)) == 1


def test_nothing_more_is_leased_while_too_many_notifications_are_not_delivered(
    broker: MemoryBroker, queue: BrokerQueue
) -> None:
    broker.send([b"a"])
    for number in range(MAX_HELD):
        queue.outbox.add(done(str(number)))
    with pytest.raises(Unavailable, match="notifications are not delivered") as raised:
        lease(queue)
    assert raised.value.public == "notifications cannot be delivered"
    queue.outbox.delivered(queue.outbox.due(1))
    assert keys(lease(queue)) == ["a"]


def test_delays_are_measured_by_a_clock_that_nobody_sets() -> None:
    """A job that is released while the wall clock is ahead would wait until the right time has caught up."""
    assert inspect.signature(BrokerQueue).parameters["clock"].default is time.monotonic
