"""The embedded queue's SQLite database: opening, transactions and conversion of errors.

Its write-ahead log (WAL) needs shared memory, so the file cannot be on a network filesystem.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

from watcher.core.errors import ConfigurationError, Unavailable, WatcherError

SCHEMA_VERSION = 1
BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction."""
_WRONG = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}
_REBUILT = "It may be deleted, with the -wal and -shm files beside it, while alphadrop is stopped: it will be rebuilt."


def _named_statements(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SQL = {
    name: statement
    for file in ("sqlite.sql", "outbox.sql")
    for name, statement in _named_statements(files(__package__).joinpath(file).read_text("utf-8")).items()
}
"""The statements of sqlite.sql and outbox.sql by name."""


class SqliteDatabase:
    """One connection behind one lock, since SQLite allows one writer at a time anyway.

    Opening raises ConfigurationError if the file cannot be used, or Unavailable if it stays locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = _open(path)
        self._durable = True

    def close(self) -> None:
        """Wait for the transaction in progress, then close. Every later transaction raises Unavailable."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection is None

    def read(self, name: str, values: dict[str, Any]) -> list[sqlite3.Row]:
        """Return the rows of a named SELECT."""
        with self.transaction("BEGIN") as connection:
            return connection.execute(SQL[name], values).fetchall()

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE", *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Commit at the end of the block, or roll back if it raises. The lock is held throughout.

        What is not `durable` survives the kill of any process, and a power cut some time later: a commit does not wait
        for the disk, and does not keep others waiting. The order of transactions is kept in any case.
        """
        with self._lock, _translated(self._path):
            if self._connection is None:
                raise Unavailable(f"the queue {self._path} is closed")
            if durable != self._durable:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            with self._connection as connection:
                connection.execute(begin)
                yield connection


def to_blob(text: str) -> bytes:
    """Encode text for a BLOB column: sqlite3 refuses the surrogates in file names that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def to_text(blob: bytes) -> str:
    """Decode what `to_blob` encoded."""
    return blob.decode("utf-8", "surrogatepass")


def _key_matches(key: bytes, pattern: bytes) -> bool:
    return fnmatchcase(to_text(key), to_text(pattern))


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise _unusable(path, error) from error
    try:
        _prepare(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.create_function("key_matches", 2, _key_matches, deterministic=True)
    with _translated(path, opening=True):
        new = _is_new(path, connection)
        _switch_to_wal(path, connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32768")  # KiB: job ids are random, so puts touch pages all over
        connection.execute("PRAGMA journal_size_limit = 67108864")  # one huge put must not leave a huge WAL behind
        if new:
            with connection:
                connection.executescript(SQL["schema"])
        _add_urgent(connection)
        if not connection.execute(SQL["outbox_exists"]).fetchone()[0]:
            with connection:
                connection.executescript(SQL["outbox_schema"])


def _add_urgent(connection: sqlite3.Connection) -> None:
    """Add what an older file lacks. In a transaction, since another process may be about to do the same."""
    if connection.execute(SQL["has_urgent"]).fetchone()[0]:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute(SQL["has_urgent"]).fetchone()[0]:
            connection.execute(SQL["add_urgent"])
            connection.execute(SQL["index_urgent"])


def _switch_to_wal(path: Path, connection: sqlite3.Connection) -> None:
    """Switch to WAL with retries: SQLite's busy timeout does not apply, see sqlite.org/c3ref/busy_handler.html."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while (mode := _try_wal(connection)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"the queue {path} is locked by another process")
        time.sleep(0.01)
    if mode != "wal":
        raise ConfigurationError(f"the queue {path} cannot use a write-ahead log there: put it on a local disk.")


def _try_wal(connection: sqlite3.Connection) -> str | None:
    try:
        mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise
        return None
    return mode


def _is_new(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether the database is empty. Checked before anything is written, so that a foreign database stays intact."""
    version, tables = connection.execute(SQL["state_of_schema"]).fetchone()
    if version == 0 and tables:
        raise ConfigurationError(f"{path} is a database, but not an alphadrop queue: name another file.")
    if version not in (0, SCHEMA_VERSION):
        raise ConfigurationError(
            f"the queue {path} has schema {version}, this alphadrop knows schema {SCHEMA_VERSION}: "
            f"run the version that wrote it, or start with a new file. {_REBUILT}"
        )
    return bool(version == 0)


@contextmanager
def _translated(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Convert SQLite's errors to ours, except errors of a statement or a value, which are bugs."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (ours := _translation(path, error, opening)) is None:
            raise
        raise ours from error


def _translation(path: Path, error: sqlite3.DatabaseError, opening: bool) -> WatcherError | None:
    code = _code(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ConfigurationError(f"the queue {path} is damaged ({error}). {_REBUILT}")
    if opening and code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return _unusable(path, error)
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return Unavailable(f"the queue {path}: {error}")
    return None


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code, without its extension bits; the sqlite3 module's own errors have none."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _unusable(path: Path, error: sqlite3.Error) -> WatcherError:
    """SQLite says the same of a place that is wrong and of a disk that is full or read-only, or of few descriptors."""
    if _is_wrong(path):
        problem = "its folder must exist on a local disk, and both must be writable."
        return ConfigurationError(f"cannot open the queue {path} ({error}): {problem}")
    return Unavailable(f"cannot open the queue {path} ({error}): is its disk full or read-only?")


def _is_wrong(path: Path) -> bool:
    """Whether the kernel refuses to open the file for a reason that does not pass by itself."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        return error.errno in _WRONG
    return False
