"""Arrivals out of a broker's queue: acknowledged when they were taken, and not before."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.queues.brokers.base import Message
from watcher.sources import messages
from watcher.sources.base import Arrival, Hint, SourceNews
from watcher.sources.events import encode_arrival
from watcher.sources.messages import MessageSource
from watcher.sources.names import SourceFilter
from watcher.sources.notices import Notices
from watcher.testing import MemoryBroker, MemoryStore


class Broker(MemoryBroker):
    """One that says when it was closed and what was set aside."""

    closed = False

    def __init__(self) -> None:
        super().__init__()
        self.aside: list[bytes] = []

    def set_aside(self, message: Message) -> None:
        self.aside.append(message.body)
        super().set_aside(message)

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
def news() -> list[tuple[bool, str]]:
    return []


@pytest.fixture
def source(broker: Broker, store: MemoryStore, news: list[tuple[bool, str]]) -> MessageSource:
    told = SourceNews(healthy=lambda ok, why: news.append((ok, why)))
    return MessageSource(broker, Notices(store, SourceFilter()), told)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PAUSE", 0.0)


def announce(broker: Broker, *keys: str) -> None:
    broker.send([encode_arrival("s3://shop/in/", ImageRef(key, "etag", 5)) for key in keys])


def found(arrivals: list[Arrival]) -> list[str]:
    return [arrival.ref.key for arrival in arrivals]


def test_each_image_that_is_announced_arrives_as_an_event(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "a.jpg", "b.jpg")
    arrivals = next(source.arrivals(stop))
    assert {arrival.ref.key for arrival in arrivals} == {"a.jpg", "b.jpg"}
    assert {arrival.hint for arrival in arrivals} == {Hint.EVENT}


def test_a_message_is_forgotten_when_its_arrivals_were_taken_and_not_before(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    next(arrivals)
    assert broker.depth().in_flight == 1
    announce(broker, "b.jpg")
    next(arrivals)
    assert broker.depth().in_flight == 1, "a.jpg's message is acknowledged by now"


def test_what_was_not_taken_before_the_stop_is_not_acknowledged(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    next(arrivals)
    stop.set()
    assert list(arrivals) == []
    assert broker.closed
    assert broker.depth().in_flight + broker.depth().pending == 1


def test_what_is_no_event_is_set_aside_and_the_rest_goes_on(
    broker: Broker, source: MessageSource, stop: threading.Event
) -> None:
    broker.send([b"Dear all"])
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(batch for batch in arrivals if batch)) == ["a.jpg"]
    assert broker.aside == [b"Dear all"]


def test_messages_of_others_are_forgotten_without_an_arrival(
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
    """Announce an image of which the store must be asked."""
    broker.send([encode_arrival("s3://shop/in/", ImageRef(key, "", -1))])


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_read_now_holds_up_nothing_else_and_is_read_later(
    broker: Broker, store: MemoryStore, source: MessageSource, stop: threading.Event, news: list[tuple[bool, str]]
) -> None:
    store.write("asked.jpg", b"1")
    store.failing["stat"] = Unavailable("no network")
    to_look_up(broker, "asked.jpg")
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(arrivals)) == ["a.jpg"]
    assert news[-1] == (False, Unavailable.public)
    announce(broker, "b.jpg")
    assert found(next(arrivals)) == ["b.jpg"]
    assert broker.extended == 1
    assert len(broker.bodies) == 2, "a.jpg's message is acknowledged, the others are not yet"
    del store.failing["stat"]
    assert found(next(arrivals)) == ["asked.jpg"]
    assert news[-1] == (True, "")
    announce(broker, "c.jpg")
    assert found(next(arrivals)) == ["c.jpg"]
    assert len(broker.bodies) == 1


@pytest.mark.usefixtures("impatient")
def test_what_was_kept_for_long_is_somebody_elses_to_try(
    broker: Broker, store: MemoryStore, source: MessageSource, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Message] = []

    def give_back(back: Sequence[Message]) -> None:
        given.extend(back)
        stop.set()

    monkeypatch.setattr(broker, "give_back", give_back)
    store.failing["stat"] = Unavailable("no network")
    to_look_up(broker, "asked.jpg")
    assert list(source.arrivals(stop)) == []
    assert [message.deliveries for message in given] == [1]
    assert broker.extended == messages.TRIES
    assert len(broker.bodies) == 1


@pytest.mark.usefixtures("impatient")
def test_what_cannot_be_set_aside_now_is_later(broker: Broker, source: MessageSource, stop: threading.Event) -> None:
    broker.failing["set_aside"] = Unavailable("no network")
    broker.send([b"Dear all"])
    announce(broker, "a.jpg")
    arrivals = source.arrivals(stop)
    assert found(next(arrivals)) == ["a.jpg"]
    del broker.failing["set_aside"]
    announce(broker, "b.jpg")
    assert found(next(arrivals)) == ["b.jpg"]
    assert broker.set_aside_bodies == [b"Dear all"]


def test_few_messages_are_in_hand_at_a_time(broker: Broker, source: MessageSource, stop: threading.Event) -> None:
    announce(broker, *(f"{number}.jpg" for number in range(3 * messages.LIMIT)))
    arrivals = source.arrivals(stop)
    assert len(next(arrivals)) == broker.depth().in_flight == messages.LIMIT == 10


def test_trouble_ends_it_and_closes_the_connection(
    broker: Broker, source: MessageSource, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limit: int, wait: float) -> list[Message]:
        raise Unavailable("no network")

    monkeypatch.setattr(broker, "receive", fail)
    with pytest.raises(Unavailable):
        next(source.arrivals(stop))
    assert broker.closed
