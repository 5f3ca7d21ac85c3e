"""The outbox of the embedded queue: a table in the same SQLite file. The statements are in outbox.sql."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from watcher.core.notification import Notification
from watcher.queues.outbox import OutboxStats, Waiting
from watcher.queues.sqlite_database import SQL, SqliteDatabase, to_blob, to_text

LONGEST_DELAY = 600.0
"""Most seconds that a notification waits for its next attempt, also if the clock is set back by days meanwhile."""
MOST_SET_ASIDE = 10_000
"""Notifications that are kept after the receiver has refused them; the oldest ones are dropped."""


class SqliteOutbox:
    """An `Outbox` in the database of an embedded queue. Each call is one transaction."""

    def __init__(self, database: SqliteDatabase, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def due(self, limit: int) -> list[Waiting]:
        """See `Outbox.due`."""
        now = self._clock()
        rows = self._database.read("due_notifications", {"now": now, "latest": now + LONGEST_DELAY, "limit": limit})
        return [_waiting(row) for row in rows]

    def next_due(self) -> float | None:
        """See `Outbox.next_due`."""
        first: float | None = self._database.read("next_notification", {})[0][0]
        if first is None:
            return None
        wait = max(0.0, first - self._clock())
        return wait if wait <= LONGEST_DELAY else 0.0

    def delivered(self, sent: Sequence[Waiting]) -> None:
        """See `Outbox.delivered`."""
        with self._database.transaction() as connection:
            connection.executemany(SQL["forget_notification"], [{"number": one.number} for one in sent])

    def postpone(self, failed: Waiting, seconds: float) -> None:
        """See `Outbox.postpone`."""
        values = {"number": failed.number, "not_before": self._clock() + min(seconds, LONGEST_DELAY)}
        with self._database.transaction() as connection:
            connection.execute(SQL["postpone_notification"], values)

    def set_aside(self, refused: Waiting, problem: str) -> None:
        """See `Outbox.set_aside`. The newest MOST_SET_ASIDE are kept for `retry_set_aside`."""
        with self._database.transaction() as connection:
            connection.execute(SQL["set_notification_aside"], {"number": refused.number, "problem": problem})
            connection.execute(SQL["forget_oldest_set_aside"], {"most": MOST_SET_ASIDE})

    def stats(self) -> OutboxStats:
        """See `Outbox.stats`."""
        return OutboxStats(*self._database.read("count_outbox", {})[0])

    def retry_set_aside(self) -> int:
        """Let the notifications that were set aside be sent again; returns how many there are."""
        with self._database.transaction() as connection:
            return connection.execute(SQL["retry_set_aside"]).rowcount

    def list_set_aside(self, limit: int) -> list[tuple[str, str]]:
        """The key and the receiver's answer of the newest notifications that were set aside."""
        rows = self._database.read("list_set_aside", {"limit": limit})
        return [(to_text(row["key"]), row["problem"]) for row in rows]


def add_notification(connection: sqlite3.Connection, notification: Notification) -> None:
    """Write a notification in the transaction that ends its job."""
    row = {
        "id": notification.id,
        "key": to_blob(notification.key),
        "body": notification.body(),
        "finished_at": notification.time.timestamp(),
    }
    connection.execute(SQL["add_notification"], row)


def _waiting(row: sqlite3.Row) -> Waiting:
    return Waiting(
        row["number"], row["id"], to_text(row["key"]), bytes(row["body"]), row["finished_at"], row["failures"]
    )
