"""RabbitMQ under faults: restarts, a frozen server, refusals, deleted queues and existing ones."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pika
import pytest
from structlog.testing import capture_logs

from tests.contract.brokers import bodies, receive
from tests.equipment.rabbit import Rabbit, free_port, queue_name
from tests.equipment.support import wait_until
from watcher.core.errors import Denied, Unavailable
from watcher.queues.brokers import amqp_connection
from watcher.queues.brokers.address import AmqpAddress, parse_address
from watcher.queues.brokers.amqp import AmqpBroker
from watcher.queues.brokers.amqp_connection import Session
from watcher.queues.brokers.base import Depth, Message

MOST = 50


def address(uri: str) -> AmqpAddress:
    parsed = parse_address(uri)
    assert isinstance(parsed, AmqpAddress)
    return parsed


@contextmanager
def opened(uri: str, *, most: int = MOST, heartbeat: int = 30) -> Iterator[AmqpBroker]:
    with closing(AmqpBroker(address(uri), max_unacknowledged=most, heartbeat=heartbeat)) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again soon."""
    monkeypatch.setattr(amqp_connection, "RECONNECT_BACKOFF", (0.2, 0.5))


@pytest.fixture
def name() -> str:
    return queue_name()


@pytest.fixture
def broker(rabbit: Rabbit, name: str) -> Iterator[AmqpBroker]:
    with opened(rabbit.url(queue=name)) as broker:
        yield broker


@contextmanager
def administrator(rabbit: Rabbit) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A channel of another user."""
    with rabbit.connect() as connection:
        yield connection.channel()


def works(ask: Callable[[], object]) -> bool:
    """Whether the broker answers."""
    try:
        ask()
    except Unavailable:
        return False
    return True


def fails(ask: Callable[[], object]) -> bool:
    return not works(ask)


@contextmanager
def somebody_waits(broker: AmqpBroker) -> Iterator[list[Exception]]:
    """Wait for a message in a thread, which has ended at the end of the block. Yields the errors that it gets."""
    problems: list[Exception] = []

    def wait() -> None:
        try:
            broker.receive(1, 60.0)
        except Unavailable as error:
            problems.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    yield problems
    thread.join(60.0)


def sockets() -> set[str]:
    """Those that this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return {target for link in links if link.is_symlink() and (target := os.readlink(link)).startswith("socket:")}


# A server that goes away


def test_after_a_restart_messages_in_flight_are_redelivered(rabbit: Rabbit, broker: AmqpBroker) -> None:
    broker.send([b"acknowledged", b"held", b"waiting"])
    held = [message for message in receive(broker, 2) if message.body != b"acknowledged"]
    rabbit.restart()
    wait_until(lambda: works(broker.depth))
    assert broker.extend(held) == held, "they are anyone's again"
    assert broker.acknowledge(held) == held
    again = {message.body: message.deliveries for message in receive(broker, 3)}
    assert again[held[0].body] == 2


def test_a_server_that_dies_loses_nothing_that_was_confirmed(rabbit: Rabbit, name: str) -> None:
    sent = [b"%03d" % number for number in range(100)]
    with opened(rabbit.url(queue=name), most=200) as broker:
        broker.depth()
        rabbit.restart()  # RabbitMQ itself may lose sight of a queue when it dies within seconds of its declaration
        wait_until(lambda: works(lambda: broker.send(sent)))
        rabbit.kill()
        wait_until(lambda: fails(broker.depth))
        rabbit.start()
        wait_until(lambda: works(broker.depth))
        broker.send([b"after"])
        assert set(bodies(receive(broker, broker.depth().pending))) == {*sent, b"after"}


def test_a_server_that_is_not_there_is_unavailable_at_once_and_waited_for(rabbit: Rabbit, name: str) -> None:
    with rabbit.down():
        broker = AmqpBroker(address(rabbit.url(queue=name)), max_unacknowledged=MOST)
        for ask in (broker.depth, lambda: broker.send([b"a"]), lambda: broker.receive(1, 30.0)):
            with pytest.raises(Unavailable, match="refused"):
                ask()
    with closing(broker):
        wait_until(lambda: works(broker.depth))


def test_heartbeats_detect_a_frozen_server(rabbit: Rabbit, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(rabbit.url(queue=name), heartbeat=2) as broker:
        broker.send([b"a"])
        monkeypatch.setattr(amqp_connection, "CONNECT_TIMEOUT", 2.0)
        with rabbit.frozen():
            wait_until(lambda: fails(lambda: broker.receive(1, 1.0)))
        wait_until(lambda: works(broker.depth))
        assert bodies(receive(broker, 1)) == [b"a"]


def test_a_request_without_an_answer_times_out(
    rabbit: Rabbit, broker: AmqpBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.depth()
    monkeypatch.setattr(amqp_connection, "ANSWER_TIMEOUT", 0.5)
    monkeypatch.setattr(amqp_connection, "CONNECT_TIMEOUT", 1.0)
    with rabbit.frozen():
        for ask in (broker.depth, lambda: broker.send([b"a"]), lambda: broker.receive(1, 0.0)):
            with pytest.raises(Unavailable):
                ask()
    wait_until(lambda: works(broker.depth))


def test_an_idle_connection_stays_open(rabbit: Rabbit, name: str) -> None:
    """Its heartbeats are sent whether anybody uses it or not."""
    with opened(rabbit.url(queue=name), heartbeat=2) as broker:
        broker.send([b"a"])
        held = receive(broker, 1)
        assert broker.receive(1, 7.0) == []
        assert broker.extend(held) == []


def test_closing_while_there_is_no_server_does_not_wait_for_one(name: str) -> None:
    with opened(f"amqp://127.0.0.1:{free_port()}/?queue={name}") as broker:
        wait_until(lambda: fails(broker.depth))
    with pytest.raises(Unavailable, match="closed"):
        broker.depth()


def test_closing_while_a_connection_is_made_is_no_fault(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = AmqpBroker(
            address(f"amqp://127.0.0.1:{silent.getsockname()[1]}/?queue={name}"), max_unacknowledged=MOST
        )
        with silent.accept()[0] as connection:
            assert connection.recv(4) == b"AMQP"
            broker.close()
    assert caplog.records == []


class LeavingLoop(asyncio.SelectorEventLoop):
    """One whose line hangs up in one of its turns, as soon as the loop has heard what other threads have found."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self.left = turn

    def _process_events(self, events: list[object]) -> None:
        self.left -= 1
        if self.left == 0:
            for task in asyncio.all_tasks(self):
                if task.get_coro().__name__ == "_keep_open":  # type: ignore[union-attr]
                    task.cancel()
        super()._process_events(events)  # type: ignore[misc]


def test_leaving_at_any_moment_of_the_opening_leaves_no_socket_behind(
    rabbit: Rabbit, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sockets()
    for turn in range(1, 40):
        monkeypatch.setattr(asyncio, "new_event_loop", partial(LeavingLoop, turn))
        with opened(rabbit.url(queue=name)) as broker:
            wait_until(partial(fails, broker.depth))
        assert sockets() <= before
    gc.collect()  # a socket that nobody has closed warns, and a warning fails the test


@pytest.mark.parametrize("ending", [False, True], ids=["open", "ending"])
def test_closing_leaves_no_socket_open_where_the_server_does_not_answer(
    rabbit: Rabbit, name: str, monkeypatch: pytest.MonkeyPatch, ending: bool
) -> None:
    monkeypatch.setattr(amqp_connection, "CLOSE_TIMEOUT", 0.2)
    before = sockets()
    with opened(rabbit.url(queue=name)) as broker:
        broker.depth()
        assert len(sockets() - before) >= 1
        with rabbit.frozen():
            if ending:
                broker._connection.call(end_session)
            broker.close()
            assert sockets() <= before


async def end_session(session: Session) -> None:
    """End it as a request without an answer does; the connection is closed next."""
    session.end(Unavailable("no answer"))


def test_closing_ends_a_waiting_receive(broker: AmqpBroker) -> None:
    assert broker.depth() == Depth(0, 0)
    with somebody_waits(broker) as problems:
        wait_until(lambda: broker._consumer is not None and broker._consumer._delivered is not None)
        broker.close()
    assert "closed" in str(problems)


# Refusals


@pytest.mark.parametrize(
    ("right", "wrong"), [("guest:guest@", "guest:hunter2@"), ("/?", "/nowhere?")], ids=["password", "virtual host"]
)
def test_wrong_credentials_or_virtual_host_raise_denied(rabbit: Rabbit, name: str, right: str, wrong: str) -> None:
    with opened(rabbit.url(queue=name).replace(right, wrong)) as broker, capture_logs() as lines:
        with pytest.raises(Denied) as told:
            broker.depth()
        assert "hunter2" not in f"{told.value} {lines}"


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(rabbit: Rabbit, name: str) -> None:
    with opened(rabbit.url(queue=name)) as broker, capture_logs() as lines:
        broker.depth()
        with rabbit.down():
            wait_until(lambda: fails(broker.depth))
        wait_until(lambda: works(broker.depth))
    assert [line["event"] for line in lines] == ["broker_disconnected", "broker_reconnected"]


# Queues


def test_a_new_queue_is_safe_and_has_dead_letters(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    broker.send([b"a"])
    with administrator(rabbit) as channel:
        for queue, waiting in ((name, 1), (f"{name}.dead", 0)):
            declared = channel.queue_declare(queue, durable=True, passive=True)
            assert declared.method.message_count == waiting
        method, properties, _ = channel.basic_get(name)
        assert properties.delivery_mode == 2
        channel.basic_nack(method.delivery_tag)


def test_an_existing_queue_is_used_as_it_is(rabbit: Rabbit, name: str) -> None:
    with administrator(rabbit) as channel:
        channel.queue_declare(name, durable=False, auto_delete=False, arguments={"x-max-length": 1000})
        with opened(rabbit.url(queue=name)) as broker:
            broker.send([b"a"])
            (message,) = receive(broker, 1)
            assert message.deliveries == 1
            broker.requeue([message])
            broker.requeue(receive(broker, 1))
            (message,) = receive(broker, 1)
            assert message.deliveries == 2, "this kind of queue knows no more"
            broker.dead_letter(message)
            assert broker.depth() == Depth(0, 0)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue"):
            channel.queue_declare(f"{name}.dead", passive=True)


def test_a_deleted_queue_is_detected_and_declared_again(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    broker.send([b"a"])
    held = receive(broker, 1)
    with administrator(rabbit) as channel:
        channel.queue_delete(name)
    wait_until(lambda: fails(lambda: broker.receive(1, 0.0)))
    wait_until(lambda: works(lambda: broker.send([b"b"])))
    assert broker.acknowledge(held) == held
    assert bodies(receive(broker, 1)) == [b"b"]


def test_deleting_a_queue_ends_a_waiting_receive(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    assert broker.receive(1, 0.1) == []
    with somebody_waits(broker) as problems, administrator(rabbit) as channel:
        channel.queue_delete(name)
    assert len(problems) == 1


def test_an_unroutable_message_is_reported_as_not_sent(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    broker.send([b"a"])
    with administrator(rabbit) as channel:
        channel.queue_delete(name)
    with pytest.raises(Unavailable, match="does not exist any more"):
        broker.send([b"b"])


@pytest.mark.parametrize("ask", [lambda broker: broker.send([b"b"]), AmqpBroker.depth], ids=["send", "depth"])
def test_a_deleted_queue_is_declared_again_even_without_a_receive(
    rabbit: Rabbit, broker: AmqpBroker, name: str, ask: Callable[[AmqpBroker], object]
) -> None:
    broker.send([b"a"])
    with administrator(rabbit) as channel:
        channel.queue_delete(name)
        with pytest.raises(Unavailable):
            ask(broker)
        wait_until(lambda: works(lambda: ask(broker)))
        channel.queue_declare(name, durable=True, passive=True)


def test_a_message_refused_by_a_full_queue_is_reported_as_not_sent(rabbit: Rabbit, name: str) -> None:
    with administrator(rabbit) as channel:
        channel.queue_declare(name, durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
        with opened(rabbit.url(queue=name)) as broker, pytest.raises(Unavailable, match="refused it"):
            broker.send([b"%d" % number for number in range(20)])


@pytest.mark.parametrize("there", [False, True], ids=["absent", "there"])
def test_a_buckets_events_come_through_an_exchange(rabbit: Rabbit, name: str, there: bool) -> None:
    with administrator(rabbit) as channel:
        if there:
            channel.exchange_declare(f"{name}-events", "direct", durable=True)
        with opened(rabbit.url(queue=name, exchange=f"{name}-events", routing_key="bucket")) as broker:
            broker.depth()
            channel.basic_publish(f"{name}-events", "bucket", b"ours")
            channel.basic_publish(f"{name}-events", "other", b"not ours")
            (message,) = receive(broker, 1)
            assert (message.body, message.sent_at) == (b"ours", 0.0)
            assert broker.receive(1, 0.2) == []


# Hands


def test_unacknowledged_messages_never_exceed_the_maximum(rabbit: Rabbit, name: str) -> None:
    with opened(rabbit.url(queue=name), most=3) as broker:
        broker.send([b"a", b"b", b"c", b"d"])
        messages = receive(broker, 3)
        assert broker.receive(10, 0.1) == []
        assert broker.acknowledge(messages[:1]) == []
        assert bodies(receive(broker, 1)) == [b"d"]


def test_nothing_is_prefetched(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    """Else a process that is killed would make suspects of messages that it has never looked at."""
    broker.send([b"%d" % number for number in range(30)])
    receive(broker, 2)
    with administrator(rabbit) as channel:
        wait_until(lambda: channel.queue_declare(name, passive=True).method.message_count == 28)


def test_no_message_is_delivered_after_the_wait_has_ended(rabbit: Rabbit, broker: AmqpBroker, name: str) -> None:
    """It would be nobody's until we ask again, which may be never."""
    assert broker.receive(1, 0.1) == []
    broker.send([b"a"])
    with opened(rabbit.url(queue=name)) as other:
        assert bodies(receive(other, 1)) == [b"a"]


def test_what_comes_while_the_consumer_leaves_is_received_once(broker: AmqpBroker) -> None:
    sent = [b"%03d" % number for number in range(300)]
    found: list[Message] = []

    def look() -> bool:
        messages = broker.receive(1, 0.001)
        broker.acknowledge(messages)
        found.extend(messages)
        return len(found) >= len(sent)

    def send() -> None:
        for body in sent:
            broker.send([body])

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        wait_until(look, pause=0.0)
        sending.result()
    assert bodies(found) == sent
    assert broker.depth() == Depth(0, 0)


def test_deliveries_are_counted_one_by_one(broker: AmqpBroker) -> None:
    broker.send([b"a"])
    for deliveries in range(1, 5):
        (message,) = receive(broker, 1)
        assert message.deliveries == deliveries
        broker.requeue([message])


def test_a_message_that_comes_to_a_waiting_consumer_is_one_like_any_other(broker: AmqpBroker) -> None:
    for number in range(20):
        assert broker.receive(5, 0.001) == []
        broker.send([b"%d" % number, b"x"])
        messages = receive(broker, 2)
        assert [message.deliveries for message in messages] == [1, 1]
        assert broker.acknowledge(messages) == []


def test_a_large_message_is_carried_whole(broker: AmqpBroker) -> None:
    body = bytes(range(256)) * 4096
    broker.send([body])
    assert receive(broker, 1)[0].body == body


def test_messages_are_requeued_when_we_disconnect(rabbit: Rabbit, name: str) -> None:
    with opened(rabbit.url(queue=name)) as broker, opened(rabbit.url(queue=name)) as other:
        broker.send([b"a"])
        receive(broker, 1)
        broker.close()
        assert bodies(receive(other, 1)) == [b"a"]
