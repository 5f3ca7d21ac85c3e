"""The contract of every broker. Add another broker to the sites in conftest.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from tests.contract.brokers import Site, bodies, receive
from tests.equipment.support import wait_until
from watcher.queues.brokers.base import Broker, Depth


@pytest.fixture
def broker(site: Site) -> Iterator[Broker]:
    with opened(site) as broker:
        yield broker


@contextmanager
def opened(site: Site) -> Iterator[Broker]:
    with closing(site.open()) as broker:
        yield broker


# Sending and receiving


def test_what_is_sent_is_received_once(broker: Broker) -> None:
    broker.send([b'{"key": "a"}', "é".encode()])
    messages = receive(broker, 2)
    assert bodies(messages) == [b'{"key": "a"}', "é".encode()]
    for message in messages:
        assert message.deliveries == 1
        assert time.time() - 60 < message.sent_at <= time.time()
    assert broker.receive(10, 0) == []


def test_an_empty_queue_gives_nothing_when_the_wait_is_over(broker: Broker) -> None:
    started = time.monotonic()
    assert broker.receive(10, 1.0) == []
    assert time.monotonic() - started > 0.9


def test_no_more_messages_are_received_than_the_limit(broker: Broker) -> None:
    broker.send([b"a", b"b", b"c"])
    assert len(receive(broker, 2)) == 2
    wait_until(lambda: broker.depth() == Depth(pending=1, in_flight=2))


def test_many_are_sent_and_received_at_a_time(broker: Broker) -> None:
    sent = [b"%03d" % number for number in range(35)]
    broker.send(sent)
    messages = receive(broker, 35)
    assert bodies(messages) == sent
    assert broker.acknowledge(messages) == []
    wait_until(lambda: broker.depth() == Depth(0, 0))


def test_a_message_that_comes_ends_the_wait(site: Site, broker: Broker) -> None:
    with opened(site) as other, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(broker.receive, 5, 60.0)
        other.send([b"late"])
        started = time.monotonic()
        assert bodies(waiting.result()) == [b"late"]
        assert time.monotonic() - started < 50


def test_empty_lists_of_messages_are_accepted(broker: Broker) -> None:
    broker.send([])
    assert broker.acknowledge([]) == []
    assert broker.extend([]) == []
    broker.requeue([])


# What becomes of messages


def test_a_delivered_message_is_not_delivered_to_others(site: Site, broker: Broker) -> None:
    with opened(site) as other:
        broker.send([b"a"])
        receive(broker, 1)
        assert other.receive(10, 0) == []


def test_an_acknowledged_message_is_never_redelivered(site: Site, broker: Broker) -> None:
    broker.send([b"a", b"b"])
    messages = receive(broker, 2)
    assert broker.acknowledge([message for message in messages if message.body == b"a"]) == []
    broker.requeue([message for message in messages if message.body == b"b"])
    assert bodies(receive(broker, 1)) == [b"b"]
    wait_until(lambda: broker.depth() == Depth(pending=0, in_flight=1))


def test_a_returned_message_is_available_to_others_at_once(site: Site, broker: Broker) -> None:
    with opened(site) as other:
        broker.send([b"a"])
        broker.requeue(receive(broker, 1))
        assert [message.deliveries for message in receive(other, 1)] == [2]


def test_an_extended_message_stays_ours(site: Site, broker: Broker) -> None:
    broker.send([b"a"])
    messages = receive(broker, 1)
    with opened(site) as other:
        until = time.monotonic() + 1.5 * (broker.visibility or 0)
        while time.monotonic() < until:
            assert broker.extend(messages) == []
            assert other.receive(10, 0.5) == []
    assert broker.acknowledge(messages) == []


def test_a_message_set_aside_is_in_the_dead_letter_queue(site: Site, broker: Broker) -> None:
    broker.send([b"nonsense", b"a"])
    (nonsense,) = receive(broker, 1, lambda message: message.body == b"nonsense")
    broker.dead_letter(nonsense)
    with closing(site.open_dead_letters()) as dead_letters:
        assert bodies(receive(dead_letters, 1)) == [b"nonsense"]
    assert bodies(receive(broker, 1)) == [b"a"]


def test_depth_counts_pending_messages_and_those_in_flight(broker: Broker) -> None:
    assert broker.depth() == Depth(0, 0)
    broker.send([b"a", b"b", b"c"])
    wait_until(lambda: broker.depth() == Depth(3, 0))
    receive(broker, 2)
    wait_until(lambda: broker.depth() == Depth(1, 2))


# Processes and threads


HOLD = """
messages = []
while len(messages) < 3:
    messages += broker.receive(3 - len(messages), 1.0)
print("holding", flush=True)
sys.stdin.read()
"""


def test_messages_of_a_killed_process_are_redelivered_and_counted(site: Site, broker: Broker) -> None:
    broker.send([b"a", b"b", b"c", b"d"])
    with site.child(HOLD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        (left,) = receive(broker, 1)
        process.kill()
        process.wait()
        again = receive(broker, 3)
    assert bodies([left, *again]) == [b"a", b"b", b"c", b"d"]
    assert (left.deliveries, [message.deliveries for message in again]) == (1, [2, 2, 2])


def test_many_threads_share_a_broker(broker: Broker) -> None:
    sent = [b"%03d" % number for number in range(60)]

    seen: list[bytes] = []
    repeats = broker.visibility is not None  # SQS may hand a message to two that ask at the same moment

    def work(batch: list[bytes]) -> None:
        broker.send(batch)
        while len(set(seen)) < len(sent):
            messages = broker.receive(10, 1.0)
            lost = {message.handle for message in [*broker.extend(messages), *broker.acknowledge(messages)]}
            assert repeats or not lost
            seen.extend(bodies([message for message in messages if message.handle not in lost]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [sent[start : start + 10] for start in range(0, 60, 10)]))
    assert sorted(set(seen) if repeats else seen) == sent
    wait_until(lambda: broker.depth() == Depth(0, 0))


def test_the_name_contains_no_password(site: Site, broker: Broker) -> None:
    assert "guest" not in broker.name
    assert site.uri.partition("queue=")[2] in broker.name
