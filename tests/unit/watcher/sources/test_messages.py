"""Messages are acknowledged once their arrivals were taken, and not before."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.queues.brokers.base import Message
from watcher.sources import messages
from watcher.sources.base import Arrival, DiscoveredVia, SourceCallbacks
from watcher.sources.event_resolver import EventResolver
from watcher.sources.events import encode_arrival
from watcher.sources.messages import MessageSource
from watcher.sources.source_filter import SourceFilter
from watcher.testing import MemoryBroker, MemoryStore


class Broker(MemoryBroker):
    """A broker that records when it is closed and what is set aside."""

    closed = False

    def __init__(self) -> None:
        super().__init__()
        self.aside: list[bytes] = []

    def dead_letter(self, message: Message) -> None:
        self.aside.append(message.body)
        super().dead_letter(message)

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("s3://shop/in/")


@pytest.fixture
def health() -> list[tuple[bool, str]]:
    return []


@pytest.fixture
def source(broker: Broker, store: MemoryStore, health: list[tuple[bool, str]]) -> MessageSource:
    told = SourceCallbacks(on_health=lambda ok, why: health.append((ok, why)))
    return MessageSource(broker, EventResolver(store, SourceFilter()), told)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "RETRY_DELAY", 0.0)


def announce(broker: Broker, *keys: str) -> None:
    broker.send([encode_arrival("s3://shop/in/", ImageRef(key, "etag", 5)) for key in keys])


def found(arrivals: list[Arrival]) -> list[str]:
    return [arrival.ref.key for arrival in arrivals]


def test_each_announced_image_is_an_arrival(broker: Broker, source: MessageSource, stop: threading.Event) -> None:
    announce(broker, "a.jpg", "b.jpg")
    arrivals = next(source.arrivals(stop))
    assert {arrival.ref.key for arrival in arrivals} == {"a.jpg", "b.jpg"}
    assert {arrival.discovered_via for arrival in arrivals} == {DiscoveredVia.EVENT}


def test_a_message_is_acknowledged_once_its_arrivals_were_taken(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    next(arrivals)
    assert broker.depth().in_flight == 1
    announce(broker, "b.jpg")
    next(arrivals)
    assert broker.depth().in_flight == 1, "a.jpg's message is acknowledged by now"


def test_arrivals_not_taken_before_the_stop_are_not_acknowledged(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    next(arrivals)
    stop.set()
    assert list(arrivals) == []
    assert broker.closed
    assert broker.depth().in_flight + broker.depth().pending == 1


def test_an_invalid_message_is_set_aside_and_others_are_processed(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    broker.send([b"Dear all"])
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(batch for batch in arrivals if batch)) == ["a.jpg"]
    assert broker.aside == [b"Dear all"]


def test_messages_about_other_objects_are_acknowledged_without_an_arrival(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "read.me")
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    keys = found(next(arrivals))
    announce(broker, "b.jpg")
    keys += found(next(arrivals))
    assert sorted(keys) == ["a.jpg", "b.jpg"]


def to_look_up(broker: Broker, key: str) -> None:
    """Announce an image that must be looked up."""
    broker.send([encode_arrival("s3://shop/in/", ImageRef(key, "", -1))])


@pytest.mark.usefixtures("impatient")
def test_a_message_that_cannot_be_resolved_now_delays_no_other(
    broker: Broker, store: MemoryStore, source: MessageSource, stop: threading.Event, health: list[tuple[bool, str]]
) -> None:
    store.write("asked.jpg", b"1")
    store.failing["stat"] = Unavailable("no network")
    to_look_up(broker, "asked.jpg")
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(arrivals)) == ["a.jpg"]
    assert health[-1] == (False, Unavailable.public)
    announce(broker, "b.jpg")
    assert found(next(arrivals)) == ["b.jpg"]
    assert broker.extended == 1
    assert len(broker.bodies) == 2, "a.jpg's message is acknowledged, the others are not yet"
    del store.failing["stat"]
    assert found(next(arrivals)) == ["asked.jpg"]
    assert health[-1] == (True, "")
    announce(broker, "c.jpg")
    assert found(next(arrivals)) == ["c.jpg"]
    assert len(broker.bodies) == 1


@pytest.mark.usefixtures("impatient")
def test_a_message_is_requeued_after_many_retries(
    broker: Broker, store: MemoryStore, source: MessageSource, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Message] = []

    def requeue(back: Sequence[Message]) -> None:
        given.extend(back)
        stop.set()

    monkeypatch.setattr(broker, "requeue", requeue)
    store.failing["stat"] = Unavailable("no network")
    to_look_up(broker, "asked.jpg")
    assert list(source.arrivals(stop)) == []
    assert [message.deliveries for message in given] == [1]
    assert broker.extended == messages.MAX_RETRIES
    assert len(broker.bodies) == 1


@pytest.mark.usefixtures("impatient")
def test_a_message_that_cannot_be_set_aside_now_is_set_aside_later(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    broker.failing["dead_letter"] = Unavailable("no network")
    broker.send([b"Dear all"])
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(arrivals)) == ["a.jpg"]
    del broker.failing["dead_letter"]
    announce(broker, "b.jpg")
    assert found(next(arrivals)) == ["b.jpg"]
    assert broker.set_aside_bodies == [b"Dear all"]


def test_few_messages_are_in_flight_at_a_time(broker: Broker, source: MessageSource, stop: threading.Event) -> None:
    announce(broker, *(f"{number}.jpg" for number in range(3 * messages.MAX_IN_FLIGHT)))
    arrivals = source.arrivals(stop)
    assert len(next(arrivals)) == broker.depth().in_flight == messages.MAX_IN_FLIGHT == 10


def test_an_error_of_the_broker_closes_the_connection(
    broker: Broker, source: MessageSource, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limit: int, wait: float) -> list[Message]:
        raise Unavailable("no network")

    monkeypatch.setattr(broker, "receive", fail)
    with pytest.raises(Unavailable):
        next(source.arrivals(stop))
    assert broker.closed
