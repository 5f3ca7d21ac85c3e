"""The SQLite queue under kills, crowds and damage, and against a naive model of itself."""

from __future__ import annotations

import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import watcher
from tests.equipment.notes import done
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.core.jobs import DEATHS_TO_QUARANTINE, ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.queues import sqlite_database
from watcher.queues.sqlite import SUSPECT_MAX_WAIT, SqliteLease, SqliteQueue
from watcher.queues.sqlite_database import SCHEMA_VERSION, SQL

ROOT = Path(watcher.__file__).parents[1]
DAYS = 3 * 86_400.0
LIMIT = 120.0  # seconds that a child may take before a test gives up


def job(key: str, version: str = "1", *, output: str | None = None, size: int = 10) -> Job:
    return Job(f"{key}@{version}", ImageRef(key, version, size), output or f"{key}.png")


def jobs(count: int) -> list[Job]:
    return [job(f"{number:05}") for number in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


@contextmanager
def opened(path: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(path)) as queue:
        yield queue


@contextmanager
def child(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process, which says what it has to say line by line; it is gone after the block."""
    command = [sys.executable, "-W", "error", "-c", PRELUDE + code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


PRELUDE = """
import sys
from pathlib import Path
from watcher.queues.sqlite import SqliteQueue
from watcher.queues.sqlite_database import SQL
from watcher.core.jobs import ImageRef, Job, Outcome
def job(key): return Job(f"{key}@1", ImageRef(key, "1", 10), f"{key}.png")
"""


# Kills


PUT_FOR_EVER = """
queue = SqliteQueue(Path(sys.argv[1]))
for batch in range(10**9):
    queue.put([job(f"{batch}-{number}") for number in range(100)])
    print(batch, flush=True)
"""

KILLED_INSIDE_A_PUT = """
import os, signal
queue = SqliteQueue(Path(sys.argv[1]))
queue.put([job("before")])
with queue._database.transaction() as connection:
    for number in range(5000):  # enough to spill half a transaction into the file
        values = {"id": f"{number}@1", "key": str(number).encode(), "version": b"1", "size": 1, "output": b"x"}
        connection.execute(SQL["put_job"], values | {"now": 0.0})
    os.kill(os.getpid(), signal.SIGKILL)
"""

LEASE_AND_DIE = """
import os, signal
SqliteQueue(Path(sys.argv[1])).lease("dead", 5, alone=False)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_putting_loses_no_batch_that_was_confirmed_and_halves_none(path: Path) -> None:
    with child(PUT_FOR_EVER, path) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(5)]
        process.kill()
        process.wait(LIMIT)
        confirmed += [int(line) for line in process.stdout if line.endswith("\n")]
    with opened(path) as queue:
        pending = queue.stats().pending
        assert pending >= 100 * len(confirmed)
        assert pending % 100 == 0
        wanted = {f"{batch}-{number}@1" for batch in confirmed for number in range(100)}
        assert queue.known(sorted(wanted)).keys() == wanted


def test_a_kill_inside_a_put_leaves_what_was_there_before(path: Path) -> None:
    with child(KILLED_INSIDE_A_PUT, path) as process:
        assert process.wait(LIMIT) == -9
    with opened(path) as queue:
        assert queue.stats().pending == 1
        assert queue.put([job("5"), job("before")]) == 1


def test_a_killed_workers_leases_are_still_there_to_be_abandoned(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(9))
        with child(LEASE_AND_DIE, path) as process:
            assert process.wait(LIMIT) == -9
        assert queue.stats().in_flight == 5
        assert queue.abandon("dead", blame=True) == []
        assert (queue.stats().suspects, queue.stats().pending) == (5, 9)


# Crowds


LEASE_ALL = """
queue = SqliteQueue(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while leases := queue.lease(sys.argv[2], 7, alone=False):
    for lease in leases:
        print(lease.job.id)
        lease.done(Outcome.WRITTEN)
"""


def test_processes_share_the_jobs_out_exactly_once(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(1500))
        with child(LEASE_ALL, path, "a") as a, child(LEASE_ALL, path, "b") as b, child(LEASE_ALL, path, "c") as c:
            workers = (a, b, c)
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            with ThreadPoolExecutor() as pool:
                said = list(pool.map(lambda worker: worker.communicate("go\n", LIMIT)[0].split(), workers))
            assert [worker.returncode for worker in workers] == [0, 0, 0]
        assert Counter(id_ for ids in said for id_ in ids) == Counter(one.id for one in jobs(1500))
        assert queue.stats().ended == {"written": 1500}


def test_many_processes_may_create_the_queue_at_once(path: Path) -> None:
    code = "print('ready', flush=True); sys.stdin.readline(); print(SqliteQueue(Path(sys.argv[1])).put([job('a')]))"
    with child(code, path) as a, child(code, path) as b, child(code, path) as c:
        for process in (a, b, c):
            assert process.stdout is not None
            process.stdout.readline()
        for process in (a, b, c):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert sorted(process.communicate(timeout=LIMIT)[0].strip() for process in (a, b, c)) == ["0", "0", "1"]


def test_threads_share_one_queue(path: Path) -> None:
    gate = threading.Barrier(6)

    def put(part: int) -> list[str]:
        gate.wait(LIMIT)
        return [str(queue.put(jobs(300)[start : start + 10])) for start in range(part, 300, 10)]

    def work(owner: int) -> list[str]:
        gate.wait(LIMIT)
        done: list[str] = []
        while queue.stats().ended.get("written", 0) < 300:
            for lease in queue.lease(str(owner), 4, alone=False):
                lease.done(Outcome.WRITTEN)
                done.append(lease.job.id)
        return done

    with opened(path) as queue, ThreadPoolExecutor(6) as pool:
        puts = [pool.submit(put, part) for part in (0, 0, 5)]
        works = [pool.submit(work, owner) for owner in range(3)]
        assert sum(int(new) for future in puts for new in future.result(LIMIT)) == 300
        done = [id_ for future in works for id_ in future.result(LIMIT)]
        assert Counter(done) == Counter(one.id for one in jobs(300))


def test_a_queue_that_is_locked_for_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT", 0.0)
    with opened(path) as queue, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            queue.put([job("a")])
        assert queue.stats().pending == 0, "reading goes on"
        other.execute("ROLLBACK")
        assert queue.put([job("a")]) == 1


def test_a_new_file_that_is_locked_for_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            SqliteQueue(path)


# Damage and outages


def test_a_full_disk_is_unavailable_and_loses_nothing(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(10))
        with queue._database.transaction("BEGIN") as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        assert queue._database._connection is not None
        queue._database._connection.execute(f"PRAGMA max_page_count = {pages}")  # as good as a full disk
        with pytest.raises(Unavailable, match="full"):
            queue.put([job(f"new-{number}") for number in range(5000)])
        assert queue.stats().pending == 10
        queue.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)


def test_a_file_that_is_no_database_says_what_to_do(path: Path) -> None:
    path.write_bytes(b"this is not a database, only a long text " * 200)
    with pytest.raises(ConfigurationError, match=re.escape(str(path)) + ".*may be deleted"):
        SqliteQueue(path)


def test_a_damaged_page_says_what_to_do(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(2000))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with pytest.raises(ConfigurationError, match=r"damaged.*may be deleted"), opened(path) as queue:
        queue.lease("w", 1, alone=False)


def test_a_newer_schema_says_what_to_do(path: Path) -> None:
    SqliteQueue(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ConfigurationError, match=f"schema {SCHEMA_VERSION + 1}.*may be deleted"):
        SqliteQueue(path)


def test_a_foreign_database_is_left_unchanged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not an alphadrop queue"):
        SqliteQueue(path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder must exist"):
        SqliteQueue(tmp_path / "nowhere" / "queue.sqlite")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_written_to_says_so() -> None:
    with pytest.raises(ConfigurationError, match="writable"):
        SqliteQueue(Path("/proc/queue.sqlite"))


def test_a_folder_in_the_files_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot open the queue"):
        SqliteQueue(tmp_path)


def test_a_queue_that_cannot_be_opened_for_lack_of_descriptors_is_unavailable(path: Path) -> None:
    SqliteQueue(path).close()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = os.open(os.devnull, os.O_RDONLY)  # the lowest number that was free
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
    try:
        with pytest.raises(Unavailable, match="full or read-only"):
            SqliteQueue(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(last)
    SqliteQueue(path).close()


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda lease: lease.done(Outcome.WRITTEN), {"written": 1}),
        (lambda lease: lease.reject(Rejection(Reason.TRUNCATED, "ends early")), {"rejected": 1}),
        (lambda lease: lease.release(), {}),
    ],
)
def test_a_lease_that_ends_while_nothing_can_be_written_is_recorded_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[Lease], None], outcome: dict[str, int]
) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT", 0.0)
    with opened(path) as queue, opened(path) as other, opened(path) as third:
        queue.put([job("a"), job("b")])
        (lease,) = queue.lease("w", 1, alone=True)
        with other._database.transaction():  # every write fails meanwhile, as on a full disk
            end(lease)
            for _ in range(2):
                with pytest.raises(Unavailable):
                    queue.lease("w", 1, alone=True)
            assert third.stats().in_flight == 1
        leased = {lease.job.ref.key for lease in queue.lease("w", 8, alone=True)}
        assert leased == ({"b"} if outcome else {"a", "b"})
        assert third.stats().ended == outcome and third.stats().suspects == 0


def test_what_could_not_be_recorded_is_tried_once_more_when_the_queue_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT", 0.0)
    with opened(path) as other:
        for written in ({}, {"written": 1}):
            queue = SqliteQueue(path)
            queue.put([job("a")])
            (lease,) = queue.lease("w", 1, alone=True)
            with other._database.transaction():
                lease.done(Outcome.WRITTEN)
                if not written:
                    queue.close()
            queue.close()
            assert other.stats().ended == written
            other.abandon("w", blame=False)


def test_a_closed_queue_is_unavailable(path: Path) -> None:
    queue = SqliteQueue(path)
    queue.close()
    queue.close()
    with pytest.raises(Unavailable, match="closed"):
        queue.stats()


def test_a_lease_cannot_end_in_a_closed_queue(path: Path) -> None:
    queue = SqliteQueue(path)
    queue.put([job("a")])
    (lease,) = queue.lease("w", 1, alone=True)
    queue.close()
    with pytest.raises(Unavailable, match="closed"):
        lease.done(Outcome.WRITTEN)


def test_a_deleted_queue_begins_anew(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(3))
    path.unlink()
    with opened(path) as queue:
        assert queue.stats().pending == 0


def test_a_bug_in_a_statement_is_not_called_unavailable(path: Path) -> None:
    syntax = pytest.raises(sqlite3.OperationalError, match="syntax")
    with opened(path) as queue, syntax, queue._database.transaction() as connection:
        connection.execute("SELEC 1")


# What SqliteQueue has beyond the contract


def test_known_returns_the_state_of_each_known_job(path: Path) -> None:
    with opened(path) as queue:
        queue.put([job("done"), job("rejected"), job("leased"), job("pending")])
        queue.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN)
        queue.lease("w", 1, alone=False)[0].reject(Rejection(Reason.OTHER, "d"))
        queue.lease("w", 1, alone=False)
        many = [f"{number}@1" for number in range(12_000)]
        states = queue.known([*many, "done@1", "rejected@1", "leased@1", "pending@1"])
    assert states == {f"{state}@1": state for state in ("done", "rejected", "leased", "pending")}


def test_next_due_is_when_the_first_delay_ends(path: Path) -> None:
    now = [1000.0]
    with closing(SqliteQueue(path, clock=lambda: now[0])) as queue:
        queue.put(jobs(3))
        assert queue.next_due() is None
        for delay, lease in zip((9.0, 5.0), queue.lease("w", 2, alone=False), strict=True):
            lease.release(delay)
        assert queue.next_due() == 1005.0
        now[0] = 1005.0
        assert queue.next_due() == 1009.0


@pytest.mark.parametrize("suspect", [False, True])
def test_a_job_does_not_wait_for_days_because_the_clock_was_set_back(path: Path, suspect: bool) -> None:
    now = [1000.0 + DAYS]
    with closing(SqliteQueue(path, clock=lambda: now[0])) as queue:
        queue.put(jobs(1))
        lease = queue.lease("w", 1, alone=True)[0]
        if suspect:
            queue.abandon("w", blame=True)
            lease = queue.lease("w", 1, alone=True)[0]
        lease.release(5.0)
        assert not queue.lease("w", 1, alone=True), "it waits, as long as the clock is what it was"
        now[0] -= DAYS
        assert queue.lease("w", 1, alone=True)


def test_a_suspect_is_overdue_whose_clock_was_set_back(path: Path) -> None:
    now = [1000.0 + DAYS]
    with closing(SqliteQueue(path, clock=lambda: now[0])) as queue:
        queue.put(jobs(2))
        queue.lease("w", 1, alone=False)
        queue.abandon("w", blame=True)
        now[0] -= DAYS
        assert [lease.job.ref.key for lease in queue.lease("w", 1, alone=True)] == ["00000"]


def test_a_notification_does_not_wait_for_days_because_the_clock_was_set_back(path: Path) -> None:
    now = [1000.0 + DAYS]
    with closing(SqliteQueue(path, clock=lambda: now[0])) as queue:
        queue.put(jobs(1))
        queue.lease("w", 1, alone=False)[0].done(Outcome.WRITTEN, done("00000"))
        queue.outbox.postpone(queue.outbox.due(1)[0], 30.0)
        assert not queue.outbox.due(1)
        now[0] -= DAYS
        assert queue.outbox.next_due() == 0
        assert queue.outbox.due(1)


def test_a_lease_says_when_its_job_was_found(path: Path) -> None:
    with closing(SqliteQueue(path, clock=lambda: 1000.0)) as queue:
        queue.put(jobs(1))
        (lease,) = queue.lease("w", 1, alone=False)
        assert isinstance(lease, SqliteLease)
        assert lease.found_at == 1000.0


def plan(connection: sqlite3.Connection, name: str) -> str:
    values = dict.fromkeys(re.findall(r":(\w+)", SQL[name]), 1)
    rows = connection.execute("EXPLAIN QUERY PLAN " + re.sub(r"--.*", "", SQL[name]), values)
    return "\n".join(row["detail"] for row in rows)


SCHEMAS = {"schema", "state_of_schema", "outbox_schema", "outbox_exists", "has_urgent", "add_urgent", "index_urgent"}


@pytest.mark.parametrize("name", sorted(SQL.keys() - SCHEMAS))
def test_no_statement_walks_the_whole_table(path: Path, name: str) -> None:
    with opened(path) as queue, queue._database.transaction("BEGIN") as connection:
        walks = re.findall(r"SCAN (?:jobs|c|held|first|newer|outbox|o|earlier)\b.*", plan(connection, name))
    partial = {
        "pending_in_order",
        "urgent_in_order",
        "suspects_in_order",
        "leased_by_key",
        "leased_by_output",
        "rejected_in_order",
    }
    partial |= {"outbox_of_key", "outbox_in_order", "outbox_by_age", "outbox_set_aside"}
    assert {walk.rpartition(" ")[2] for walk in walks} <= partial


def test_a_file_of_an_earlier_version_gets_what_urgent_jobs_need(path: Path) -> None:
    with opened(path) as queue:
        queue.put(jobs(2))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP INDEX urgent_in_order; ALTER TABLE jobs DROP COLUMN urgent;")
    with opened(path) as queue:
        queue.put(jobs(3)[2:], urgent=True)
        assert [lease.job.ref.key for lease in queue.lease("w", 1, alone=False)] == [jobs(3)[2].ref.key]


# A naive model


@dataclass
class Row:
    """What the model knows of a job."""

    job: Job
    state: str
    found_at: float
    not_before: float = 0.0
    suspected_at: float | None = None
    deaths: int = 0
    owner: str = ""
    alone: bool = False
    label: str = ""


KEYS = {"a.jpg": "a.png", "a.webp": "a.png", "b.jpg": "b.png", "c.jpg": "c.png"}
some_job = st.builds(
    lambda key, version: job(key, version, output=KEYS[key]), st.sampled_from(sorted(KEYS)), st.sampled_from("123")
)
some_owner = st.sampled_from(["v", "w"])


class QueueMachine(RuleBasedStateMachine):
    """Does everything to the queue and to a list of rows, newest last, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1000.0
        self.queue = SqliteQueue(Path(self.folder.name, "queue.sqlite"), clock=lambda: self.now)
        self.rows: list[Row] = []
        self.held: list[tuple[Lease, Row]] = []

    def teardown(self) -> None:
        self.queue.close()
        self.folder.cleanup()

    @initialize(batch=st.lists(some_job, min_size=4, max_size=8))
    def begin(self, batch: list[Job]) -> None:
        self.put_all(batch)

    @rule(batch=st.lists(some_job, min_size=1, max_size=4))
    def put(self, batch: list[Job]) -> None:
        self.put_all(batch)

    def put_all(self, batch: list[Job]) -> None:
        new = 0
        for one in batch:
            if all(row.job.id != one.id for row in self.rows):
                self.rows.append(Row(one, "pending", self.now))
                self.drop_superseded()
                new += 1
        assert self.queue.put(batch) == new

    def any_row(self, state: str) -> bool:
        return any(row.state == state for row in self.rows)

    @precondition(lambda self: self.any_row("pending"))
    @rule(owner=some_owner, limit=st.integers(1, 3), alone=st.booleans())
    def lease(self, owner: str, limit: int, alone: bool) -> None:
        leases = self.queue.lease(owner, limit, alone=alone)
        rows = self.claim(limit, alone)
        assert [(lease.job, lease.alone) for lease in leases] == [(row.job, row.alone) for row in rows]
        for row in rows:
            row.state, row.owner, row.not_before = "leased", owner, 0.0
        self.held += zip(leases, rows, strict=True)

    def claim(self, limit: int, alone: bool) -> list[Row]:
        free = [row for row in self.rows if row.state == "pending" and row.not_before <= self.now and self.is_free(row)]
        healthy: list[Row] = []
        for row in sorted((row for row in free if row.suspected_at is None), key=lambda row: row.found_at):
            if all(row.job.output != other.job.output for other in healthy):
                healthy.append(row)
        suspects = sorted(
            (row for row in free if row.suspected_at is not None), key=lambda row: (row.deaths, row.found_at)
        )
        waiting = [row.suspected_at for row in self.rows if row.state == "pending" and row.not_before <= self.now]
        overdue = any(since is not None and since < self.now - SUSPECT_MAX_WAIT for since in waiting)
        if alone and suspects and (overdue or not healthy):
            suspects[0].alone = True
            return suspects[:1]
        return healthy[:limit]

    def is_free(self, row: Row) -> bool:
        leased = [other.job for other in self.rows if other.state == "leased"]
        return all(row.job.ref.key != other.ref.key and row.job.output != other.output for other in leased)

    def take_held(self, data: st.DataObject) -> tuple[Lease, Row, bool]:
        """A lease that was handed out, its row, and whether it is still that lease's."""
        index = data.draw(st.integers(0, len(self.held) - 1))
        lease, row = self.held.pop(index)
        current = row.state == "leased" and all(row is not later for _, later in self.held[index:])
        return lease, row, current and any(row is here for here in self.rows)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.WRITTEN, Outcome.STALE]))
    def done(self, data: st.DataObject, outcome: Outcome) -> None:
        lease, held, _ = self.take_held(data)
        lease.done(outcome)
        for row in self.rows:
            if row.job.id == held.job.id and row.state in ("pending", "leased"):
                self.end(row, "done", outcome.value)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), delay=st.sampled_from([0.0, 30.0]))
    def release(self, data: st.DataObject, delay: float) -> None:
        lease, row, current = self.take_held(data)
        lease.release(delay)
        if current:
            row.state, row.alone, row.not_before = "pending", False, self.now + delay if delay else 0.0
            row.suspected_at = None if row.suspected_at is None else self.now
            self.drop_superseded()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        lease, row, current = self.take_held(data)
        lease.reject(Rejection(Reason.TRUNCATED, "It is broken."))
        if current:
            self.end(row, "rejected", Reason.TRUNCATED)

    @precondition(lambda self: self.any_row("leased"))
    @rule(owner=some_owner, blame=st.booleans())
    def abandon(self, owner: str, blame: bool) -> None:
        killed = self.queue.abandon(owner, blame=blame)
        blamed: list[Row] = []
        for row in [row for row in self.rows if row.state == "leased" and row.owner == owner]:
            row.deaths += row.alone and blame
            row.state, row.alone, row.suspected_at = "pending", False, self.now
            if row.deaths >= DEATHS_TO_QUARANTINE:
                blamed.append(row)
        self.drop_superseded()
        blamed = [row for row in blamed if row in self.rows]
        for row in blamed:
            self.end(row, "rejected", "kills_worker")
        assert [one.id for one, _ in killed] == [row.job.id for row in blamed]

    @precondition(lambda self: self.any_row("rejected"))
    @rule()
    def retry(self) -> None:
        again = [row for row in self.rows if row.state == "rejected"]
        assert self.queue.retry() == [row.job for row in again]
        for row in again:
            self.reopened(row)

    @precondition(lambda self: self.any_row("done"))
    @rule(one=some_job)
    def reopen(self, one: Job) -> None:
        again = [row for row in self.rows if row.state == "done" and row.job.id == one.id]
        assert self.queue.reopen([one.id]) == len(again)
        for row in again:
            self.reopened(row)

    @rule(key=st.sampled_from(sorted(KEYS)))
    def forget(self, key: str) -> None:
        self.queue.forget_key(key)
        self.rows = [row for row in self.rows if row.job.ref.key != key or row.state == "leased"]

    @rule(seconds=st.sampled_from([1.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    def end(self, row: Row, state: str, label: str) -> None:
        row.state, row.label, row.suspected_at, row.alone = state, label, None, False
        if state == "done":
            row.deaths = 0
        self.drop_superseded()

    def reopened(self, row: Row) -> None:
        row.state, row.label, row.found_at, row.not_before, row.deaths = "pending", "", self.now, 0.0, 0

    def drop_superseded(self) -> None:
        newest = {row.job.ref.key: row for row in self.rows}
        self.rows = [row for row in self.rows if row.state == "leased" or newest[row.job.ref.key] is row]

    @invariant()
    def no_job_is_lost(self) -> None:
        every = [f"{key}@{version}" for key in KEYS for version in "123"]
        assert self.queue.known(every) == {row.job.id: row.state for row in self.rows}

    @invariant()
    def no_two_leases_clash(self) -> None:
        leased = [row.job for row in self.rows if row.state == "leased"]
        assert len({one.ref.key for one in leased}) == len({one.output for one in leased}) == len(leased)

    @invariant()
    def the_figures_are_right(self) -> None:
        stats = self.queue.stats()
        pending = [row for row in self.rows if row.state == "pending"]
        assert stats.pending == len(pending)
        assert stats.in_flight == sum(row.state == "leased" for row in self.rows)
        assert stats.suspects == sum(row.suspected_at is not None for row in pending)
        assert stats.pending_bytes == sum(row.job.ref.size for row in pending)
        assert stats.oldest_pending == min((row.found_at for row in pending), default=None)
        assert stats.reasons == Counter(row.label for row in self.rows if row.state == "rejected")
        done = Counter(row.label for row in self.rows if row.state == "done")
        assert Counter(stats.ended) - Counter(rejected=sum(stats.reasons.values())) == done
        later = [row.not_before for row in pending if row.not_before > self.now]
        assert self.queue.next_due() == min(later, default=None)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# What waits for the disk


def synchronous(queue: SqliteQueue, act: Callable[[], object]) -> str:
    """How the last transaction of an action that writes was committed; FULL waits for the disk."""
    connection = queue._database._connection
    seen, levels = list[str](), list[str]()
    assert connection
    level = {1: "NORMAL", 2: "FULL"}[connection.execute("PRAGMA synchronous").fetchone()[0]]
    connection.set_trace_callback(seen.append)
    act()
    connection.set_trace_callback(None)
    for statement in seen:
        level = statement.rpartition(" ")[2] if statement.startswith("PRAGMA synchronous =") else level
        if statement == "COMMIT":
            levels.append(level)
    return levels[-1]


def test_only_what_a_power_cut_must_not_take_waits_for_the_disk(path: Path) -> None:
    with opened(path) as queue:
        leased: list[Lease] = []
        assert synchronous(queue, lambda: queue.put(jobs(4))) == "FULL"
        assert synchronous(queue, lambda: leased.extend(queue.lease("w", 4, alone=False))) == "NORMAL"
        first, second, third, fourth = leased
        assert synchronous(queue, lambda: first.done(Outcome.WRITTEN)) == "NORMAL"
        assert synchronous(queue, lambda: second.release()) == "NORMAL"
        assert synchronous(queue, lambda: third.done(Outcome.WRITTEN, done("third"))) == "FULL"
        assert synchronous(queue, lambda: fourth.reject(Rejection(Reason.TRUNCATED, "ends early"))) == "FULL"
        assert synchronous(queue, lambda: queue.lease("w", 1, alone=False)) == "NORMAL"
        assert synchronous(queue, lambda: queue.abandon("w", blame=True)) == "FULL"
