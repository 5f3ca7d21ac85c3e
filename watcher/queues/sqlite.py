"""The embedded queue: jobs in an SQLite file on a local disk, shared by the processes and threads of one machine.

It survives a kill at any point: each call is one transaction. What a power cut must not take is durable when the call
returns: jobs that were put, rejections and notifications. Leases, and the end of a job whose output is in the sink, do
not wait for the disk: after a power cut such a job is pending again, and ends when a worker sees its output. The file
may be deleted while nobody uses it; it is rebuilt from source and sink. The statements are in sqlite.sql beside this
module. Only the outbox in the same file cannot be rebuilt: notifications in it that were not delivered would be lost.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher.core.errors import Unavailable
from watcher.core.jobs import DEATHS_TO_QUARANTINE, KILLS_WORKER, ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.notification import Notification
from watcher.queues.base import Announce, Leases, QueueStats
from watcher.queues.sqlite_database import SQL, SqliteDatabase, to_blob, to_text
from watcher.queues.sqlite_outbox import SqliteOutbox, add_notification
from watcher.queues.turns import Turns

SUSPECT_MAX_WAIT = 60.0
"""Seconds after which a crash suspect no longer waits until the queue is empty."""
LONGEST_DELAY = 60.0
"""Most seconds that a released job waits, also if the clock is set back by days meanwhile."""
_IDS_PER_QUERY = 5000


class SqliteQueue:
    """An `EmbeddedQueue` in the file `path`, whose folder must exist.

    Any number of queues, in any processes, may be open on one file, and any number of threads may use one queue.
    Opening raises ConfigurationError if the file cannot be used, or Unavailable if it stays locked.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._database = SqliteDatabase(path)
        self.outbox = SqliteOutbox(self._database, clock)
        """See `EmbeddedQueue.outbox`."""
        self._turns = Turns()
        self._unrecorded: deque[_End] = deque()
        """How leases ended while the file could not be written to, in order."""
        self._recording = threading.Lock()

    def close(self) -> None:
        """See `Queue.close`. Every later call raises Unavailable."""
        with suppress(Unavailable):  # then the owner of the leases abandons them, as after a kill
            self._record_ends()
        self._database.close()

    def put(self, jobs: Sequence[Job], *, urgent: bool = False) -> int:
        """See `Queue.put`. All jobs are added in one transaction."""
        now = self._clock()
        with self._database.transaction() as connection:
            added = connection.executemany(SQL["put_job"], [_row(job) | {"now": now} for job in jobs]).rowcount
            if urgent:
                connection.executemany(SQL["hurry_job"], [{"id": job.id} for job in jobs])
        return added

    def lease(self, owner: str, limit: int, *, alone: bool) -> Leases:
        """See `Queue.lease`. Urgent jobs come first, then the oldest ones, and the suspects with the fewest deaths.

        Raises Unavailable as long as the end of an earlier lease cannot be recorded.
        """
        now = self._clock()
        waits = {"overdue": now - SUSPECT_MAX_WAIT, "latest": now + LONGEST_DELAY}
        claim = {"owner": owner, "now": now, "limit": limit} | waits
        if limit < 1:
            return Leases()
        self._record_ends()
        with self._database.transaction(durable=False) as connection:
            rows = self._claim_alone(connection, claim) if alone else self._claim_jobs(connection, claim)
        return Leases(self._lease_of(row) for row in rows)

    def lease_last_suspect(self, owner: str) -> Leases:
        """See `Queue.lease_last_suspect`. Of several, the one whose workers died most often."""
        now = self._clock()
        claim = {"owner": owner, "now": now, "latest": now + LONGEST_DELAY}
        with self._database.transaction(durable=False) as connection:
            rows = _claim(connection, "lease_last_suspect", claim)
        return Leases(self._lease_of(row) for row in rows)

    def stats(self) -> QueueStats:
        """See `Queue.stats`. The cost does not depend on the number of jobs."""
        with self._database.transaction("BEGIN") as connection:
            tally = connection.execute(SQL["read_tally"]).fetchall()
            oldest = connection.execute(SQL["oldest_pending"]).fetchone()[0]
        return _stats(tally, oldest)

    def suspects(self) -> int:
        """See `Queue.suspects`."""
        return self.stats().suspects

    def abandon(self, owner: str, *, blame: bool, announce: Announce | None = None) -> list[tuple[Job, Rejection]]:
        """See `EmbeddedQueue.abandon`."""
        now = self._clock()
        verdict = {"reason": KILLS_WORKER.reason, "detail": to_blob(KILLS_WORKER.detail)}
        with self._database.transaction() as connection:
            killers: list[sqlite3.Row] = []
            if blame:
                limits = {"owner": owner, "now": now, "deaths": DEATHS_TO_QUARANTINE}
                killers = connection.execute(SQL["quarantine_killers"], verdict | limits).fetchall()
            if announce:
                for row in killers:
                    add_notification(connection, announce(_job(row), KILLS_WORKER, row["found_at"]))
            connection.execute(SQL["abandon_leases"], {"owner": owner, "blame": blame, "now": now})
        return [(_job(row), KILLS_WORKER) for row in killers]

    def abandon_all(self) -> int:
        """See `EmbeddedQueue.abandon_all`."""
        everyone = {"owner": None, "blame": False, "now": self._clock()}
        with self._database.transaction() as connection:
            return connection.execute(SQL["abandon_leases"], everyone).rowcount

    def reopen(self, ids: Sequence[str]) -> int:
        """See `EmbeddedQueue.reopen`. They are leased after those that are pending already."""
        now = self._clock()
        with self._database.transaction() as connection:
            return connection.executemany(SQL["reopen_job"], [{"id": id_, "now": now} for id_ in ids]).rowcount

    def retry(self, pattern: str = "*") -> list[Job]:
        """See `EmbeddedQueue.retry`. The pattern is `fnmatch.fnmatchcase`'s: `*` matches slashes too."""
        wanted = {"pattern": to_blob(pattern), "now": self._clock()}
        with self._database.transaction() as connection:
            rows = connection.execute(SQL["retry_rejected"], wanted).fetchall()
        return [_job(row) for row in sorted(rows, key=lambda row: int(row["seq"]))]

    def rejected(self, limit: int = 1000, reason: str = "") -> list[tuple[Job, Rejection]]:
        """See `EmbeddedQueue.rejected`."""
        rows = self._database.read("list_rejected", {"limit": max(0, limit), "reason": reason})
        return [(_job(row), Rejection.parse(row["reason"], to_text(row["detail"]))) for row in rows]

    def forget_key(self, key: str) -> None:
        """See `EmbeddedQueue.forget_key`."""
        with self._database.transaction() as connection:
            connection.execute(SQL["forget_key"], {"key": to_blob(key)})

    def known(self, ids: Sequence[str]) -> dict[str, str]:
        """See `EmbeddedQueue.known`."""
        chunks = (ids[start : start + _IDS_PER_QUERY] for start in range(0, len(ids), _IDS_PER_QUERY))
        found = (
            row for chunk in chunks for row in self._database.read("known_states", {"ids": json.dumps(list(chunk))})
        )
        return {row["id"]: row["state"] for row in found}

    def urgent(self) -> int:
        """See `EmbeddedQueue.urgent`."""
        count: int = self._database.read("count_urgent", {})[0][0]
        return count

    def next_due(self) -> float | None:
        """Return the Unix time at which the first delayed job may be leased, None if none is delayed."""
        due: float | None = self._database.read("next_due", {"now": self._clock()})[0][0]
        return due

    def _claim_alone(self, connection: sqlite3.Connection, claim: dict[str, Any]) -> list[sqlite3.Row]:
        """Lease for an idle worker: a crash suspect only if there is no other job, or if it is overdue."""
        if connection.execute(SQL["suspect_is_overdue"], claim).fetchone()[0]:
            return _claim(connection, "lease_suspect", claim) or self._claim_jobs(connection, claim)
        return self._claim_jobs(connection, claim) or _claim(connection, "lease_suspect", claim)

    def _claim_jobs(self, connection: sqlite3.Connection, claim: dict[str, Any]) -> list[sqlite3.Row]:
        """Lease urgent jobs first, but every URGENT_TURNS-th job by its age alone."""
        limit, wanted = claim["limit"], self._turns.urgent(claim["limit"])
        urgent = _claim(connection, "lease_urgent", claim | {"limit": wanted}) if wanted else []
        rest = limit - len(urgent)
        others = _claim(connection, "lease_jobs", claim | {"limit": rest}) if rest else []
        self._turns.took(len(urgent) + len(others), waiting=len(urgent) == wanted)
        return urgent + others

    def _done(self, lease: SqliteLease, outcome: Outcome, notification: Notification | None) -> None:
        values = {"id": lease.job.id, "outcome": outcome.value, "now": self._clock()}
        self._end("end_done", values, notification, durable=notification is not None)

    def _release(self, lease: SqliteLease, delay: float) -> None:
        now = self._clock()
        not_before = now + min(delay, LONGEST_DELAY) if delay > 0 else 0.0
        self._end("end_release", lease.identity | {"not_before": not_before, "now": now}, durable=False)

    def _reject(self, lease: SqliteLease, rejection: Rejection, notification: Notification | None) -> None:
        verdict = {"reason": rejection.reason, "detail": to_blob(rejection.detail), "now": self._clock()}
        self._end("end_reject", lease.identity | verdict, notification)

    def _end(
        self, name: str, values: dict[str, Any], notification: Notification | None = None, *, durable: bool = True
    ) -> None:
        """End a lease, or remember how it ended until the file can be written to: its worker is not to blame."""
        end = _End(name, values, notification, durable)
        try:
            self._record(end)
        except Unavailable:
            if self._database.closed:
                raise
            self._unrecorded.append(end)

    def _record(self, end: _End) -> None:
        """Change the job, and announce it in the same transaction; not if another worker has ended it before."""
        with self._database.transaction(durable=end.durable) as connection:
            changed = connection.execute(SQL[end.statement], end.values).rowcount
            if changed and end.notification:
                add_notification(connection, end.notification)

    def _record_ends(self) -> None:
        """Record what could not be recorded before. Raises Unavailable."""
        with self._recording:
            while self._unrecorded:
                self._record(self._unrecorded[0])
                self._unrecorded.popleft()

    def _lease_of(self, row: sqlite3.Row) -> Lease:
        return SqliteLease(self, _job(row), bool(row["alone"]), row["found_at"], row["seq"], row["claims"])


@dataclass(frozen=True, slots=True)
class _End:
    """How a lease ends."""

    statement: str
    """The name of the statement in sqlite.sql."""
    values: dict[str, Any]
    notification: Notification | None
    durable: bool


@dataclass(frozen=True, slots=True)
class SqliteLease:
    """A leased row. Once it is abandoned, `done` still counts, but `release` and `reject` do nothing.

    What cannot be recorded at present, because the disk is full, is recorded before the queue leases anything else.
    """

    queue: SqliteQueue
    job: Job
    alone: bool
    found_at: float
    """The Unix time at which the job was put, reopened or retried."""
    seq: int
    claim: int

    @property
    def identity(self) -> dict[str, Any]:
        """Values that identify this lease among all leases of the same job."""
        return {"seq": self.seq, "claim": self.claim}

    @property
    def suspect(self) -> bool:
        """See `Lease.suspect`: never, since a suspect is leased with `alone` set."""
        return False

    def done(self, outcome: Outcome, notification: Notification | None = None) -> None:
        """See `Lease.done`. Finishes the job even if this lease has expired and another worker has leased it since."""
        if outcome is Outcome.REJECTED:
            raise ValueError("a rejected job needs a reason: call reject()")
        self.queue._done(self, outcome, notification)

    def release(self, delay: float = 0.0) -> None:
        """See `Lease.release`. A crash suspect stays one."""
        self.queue._release(self, delay)

    def reject(self, rejection: Rejection, notification: Notification | None = None) -> None:
        """See `Lease.reject`."""
        self.queue._reject(self, rejection, notification)


def _claim(connection: sqlite3.Connection, name: str, claim: dict[str, Any]) -> list[sqlite3.Row]:
    rows: list[sqlite3.Row] = connection.execute(SQL[name], claim).fetchall()
    return sorted(rows, key=lambda row: (row["found_at"], row["seq"]))  # RETURNING guarantees no order


def _stats(tally: Sequence[sqlite3.Row], oldest: float | None) -> QueueStats:
    def total(state: str, column: str = "jobs") -> int:
        return sum(row[column] for row in tally if row["state"] == state)

    def split(state: str) -> dict[str, int]:
        return {row["counted_as"]: row["jobs"] for row in tally if row["state"] == state}

    rejected = total("rejected")
    return QueueStats(
        pending=total("pending"),
        in_flight=total("leased"),
        suspects=split("pending").get("suspect", 0),
        pending_bytes=total("pending", "bytes"),
        oldest_pending=oldest,
        ended=split("done") | ({Outcome.REJECTED.value: rejected} if rejected else {}),
        reasons=split("rejected"),
    )


def _row(job: Job) -> dict[str, Any]:
    ref = job.ref
    names = {"key": to_blob(ref.key), "version": to_blob(ref.version), "output": to_blob(job.output)}
    return {"id": job.id, "size": ref.size, **names}


def _job(row: sqlite3.Row) -> Job:
    return Job(row["id"], ImageRef(to_text(row["key"]), to_text(row["version"]), row["size"]), to_text(row["output"]))
