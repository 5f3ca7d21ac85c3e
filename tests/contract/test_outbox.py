"""What every outbox must do. Add another to OUTBOXES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.equipment.notes import done
from tests.equipment.support import Clock
from watcher.core.notification import Notification
from watcher.queues.outbox import MemoryOutbox, Outbox, OutboxStats, Waiting
from watcher.queues.sqlite import SqliteQueue
from watcher.queues.sqlite_outbox import add_notification

START = 1_700_000_000.0


@dataclass
class Site:
    """An outbox, and how notifications get into it."""

    outbox: Outbox
    add: Callable[[Notification], None]
    clock: Clock

    def due(self, limit: int = 10) -> list[str]:
        return [f"{waiting.key} {waiting.id[:4]}" for waiting in self.outbox.due(limit)]

    def first(self, key: str) -> Waiting:
        return next(waiting for waiting in self.outbox.due(10) if waiting.key == key)


@contextmanager
def in_memory(folder: Path, clock: Clock) -> Iterator[Site]:
    outbox = MemoryOutbox(clock)
    yield Site(outbox, outbox.add, clock)


@contextmanager
def in_sqlite(folder: Path, clock: Clock) -> Iterator[Site]:
    with closing(SqliteQueue(folder / "queue.sqlite", clock=clock)) as queue:

        def add(notification: Notification) -> None:
            with queue._database.transaction() as connection:
                add_notification(connection, notification)

        yield Site(queue.outbox, add, clock)


OUTBOXES = {"memory": in_memory, "sqlite": in_sqlite}


@pytest.fixture(params=sorted(OUTBOXES))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with OUTBOXES[request.param](tmp_path, Clock(START)) as site:
        yield site


def names(*notifications: Notification) -> list[str]:
    return [f"{notification.key} {notification.id[:4]}" for notification in notifications]


def test_a_notification_waits_as_it_was_written(site: Site) -> None:
    written = done("a", at=START - 5)
    site.add(written)
    (waiting,) = site.outbox.due(10)
    assert waiting.body == written.body() and waiting.finished_at == START - 5
    assert (waiting.id, waiting.key, waiting.failures) == (written.id, "a", 0)


def test_of_each_key_only_the_oldest_is_due(site: Site) -> None:
    first, second, other = done("a", "1"), done("a", "2"), done("b")
    for notification in (first, second, other):
        site.add(notification)
    assert site.due() == names(first, other)
    assert site.due(1) == names(first)
    site.outbox.delivered(site.outbox.due(10))
    assert site.due() == names(second)


def test_one_that_failed_waits_and_holds_back_its_key_alone(site: Site) -> None:
    failed, later, other = done("a", "1"), done("a", "2"), done("b")
    for notification in (failed, later, other):
        site.add(notification)
    site.outbox.postpone(site.first("a"), 30)
    assert site.due() == names(other)
    site.clock.now += 30
    assert site.due() == names(other, failed)  # those that failed least come first
    assert site.first("a").failures == 1


def test_one_that_is_set_aside_holds_back_nothing(site: Site) -> None:
    refused, later = done("a", "1"), done("a", "2")
    site.add(refused)
    site.add(later)
    site.outbox.set_aside(site.first("a"), "the receiver answers 400")
    assert site.due() == names(later)
    assert site.outbox.stats() == OutboxStats(1, later.time.timestamp(), set_aside=1)


def test_it_says_when_the_next_attempt_is_due(site: Site) -> None:
    assert site.outbox.next_due() is None
    for notification in (done("a", "1"), done("a", "2"), done("b")):
        site.add(notification)
    assert site.outbox.next_due() == 0
    site.outbox.postpone(site.first("a"), 30)
    site.outbox.postpone(site.first("b"), 20)
    assert site.outbox.next_due() == 20
    site.clock.now += 60
    assert site.outbox.next_due() == 0


def test_the_oldest_is_the_one_whose_image_was_finished_first(site: Site) -> None:
    assert site.outbox.stats() == OutboxStats()
    site.add(done("a", at=START - 9))
    site.add(done("b", at=START - 4))
    assert site.outbox.stats() == OutboxStats(2, START - 9)
    site.outbox.delivered([site.first("a")])
    assert site.outbox.stats() == OutboxStats(1, START - 4)


def test_a_key_that_is_no_valid_text_waits_as_well(site: Site) -> None:
    key = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    site.add(done(key))
    (waiting,) = site.outbox.due(1)
    assert waiting.key == key and rb"caf\udce9.jpg" in waiting.body
