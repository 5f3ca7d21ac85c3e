"""The page's list of images: an SQLite file in the state folder, written in batches beside the work.

It is a cache. The sink is the truth: whoever loses the file loses the list, and no picture.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import re
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger(__name__)

MOST_ITEMS = 50_000
"""Items that are kept; the oldest go first."""
FLUSH_SECONDS = 0.5
"""Seconds between two writes of the changes since then."""
_PRUNE_EVERY = 2000
"""Written items after which the oldest ones are removed."""
_MOST_WAITING = 20_000
"""Changes that wait to be written; more are dropped, where the disk does not keep up."""

_TEXT = files(__package__).joinpath("history.sql").read_text("utf-8")
_PARTS = re.split(r"^-- name: (\w+)\n", _TEXT, flags=re.MULTILINE)
SQL: Mapping[str, str] = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))
"""The statements of history.sql by name."""


class Status(StrEnum):
    """The state of an image in the list."""

    QUEUED = "queued"
    RUNNING = "running"
    """A worker has it: known of the embedded queue alone, and never stored."""
    DONE = "done"
    REJECTED = "rejected"


class Order(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    WORST = "worst"
    """Finished images by their score, the least sure first."""


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output in the sink; what is not known is None."""

    name: str
    key: str
    bytes: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """An item of the list."""

    id: str
    key: str
    batch: str | None
    job: str
    status: Status
    reason: str
    message: str
    outputs: tuple[StoredOutput, ...]
    score: float | None
    doubts: tuple[str, ...]
    model: str
    decision: str | None
    created: float
    finished: float | None


@dataclass(frozen=True)
class Finished:
    """How the processing of an image ended."""

    key: str
    job: str
    status: Status
    now: float
    created: float
    batch: str | None = None
    reason: str = ""
    message: str = ""
    outputs: tuple[StoredOutput, ...] = ()
    score: float | None = None
    doubts: tuple[str, ...] = ()
    model: str = ""
    keep: bool = False
    """Leave what is known of the outputs as it is: they were there already."""


@dataclass(frozen=True)
class Query:
    """Which items to list, and in which order."""

    status: Status | None = None
    unfinished: bool = False
    """Whether those that run are listed, too, where `status` is QUEUED."""
    batch: str = ""
    text: str = ""
    """A part of the key, in any case."""
    undecided: bool = False
    """Only what nobody has decided about."""
    order: Order = Order.NEWEST
    limit: int = 50
    after: tuple[float, int] | None = None
    """Where the part before this one ends."""


@dataclass(frozen=True)
class Listed:
    """A part of the list."""

    records: list[Record]
    next: tuple[float, int] | None
    """Where the next part begins; None after the last one."""
    total: int


@dataclass
class _Waiting:
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    dropped: int = 0


def item_id(key: str) -> str:
    """The id of the item for a source key: the same each time, and nobody guesses the key from it.

    >>> item_id("a.jpg")
    'UJsNRkGnw7oIj_ooVZ0f'
    """
    return base64.urlsafe_b64encode(hashlib.sha256(_to_blob(key)).digest()[:15]).decode()


class History:
    """The list of images. Thread-safe; reads see everything that was recorded before."""

    def __init__(self, path: Path, most: int = MOST_ITEMS) -> None:
        """Opens the file, or makes a new one where it is damaged; in memory where it cannot be written."""
        self._most = most
        self._lock = threading.Lock()
        self._waiting = _Waiting()
        self._waiting_lock = threading.Lock()
        self._written = 0
        self._connection: sqlite3.Connection | None = _open(path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="history", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._stop.set()
        self._thread.join()
        self._flush()
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    def queued(self, key: str, *, now: float, batch: str | None = None, claim: str = "") -> None:
        """Record that an image was uploaded, or will be processed again."""
        self._add("queue_item", _queue_values(key, now, batch, "", claim))

    def recovered(self, key: str, *, now: float, batch: str | None, job: str, claim: str) -> None:
        """Record an upload that was found in the source. Changes nothing if it is in the list already."""
        self._add("recover_item", _queue_values(key, now, batch, job, claim))

    def set_job(self, key: str, job: str) -> None:
        """Record the job of a queued image."""
        self._add("set_job", {"id": item_id(key), "job": job})

    def finished(self, end: Finished) -> None:
        """Record that an image is finished. Returns at once: a thread writes it soon."""
        self._add("finish_item", end)

    def set_outputs(self, key: str, outputs: Sequence[StoredOutput]) -> None:
        """Record the outputs of an image, of which more is known now."""
        self._add("set_outputs", {"id": item_id(key), "outputs": _dump(outputs)})

    def remade(self, end: Finished) -> None:
        """Record that a finished image was made again, or has one more output; `message` says why if that failed."""
        self._add("remade_item", {**_finish_values(end), "failed": bool(end.message)})

    def set_decision(self, key: str, decision: str | None) -> None:
        """Record a decision about an image; None removes it."""
        self._add("set_decision", {"id": item_id(key), "decision": decision})

    def forget(self, key: str) -> None:
        """Remove an image that no longer exists."""
        self._add("forget_item", {"id": item_id(key)})

    def get(self, id: str) -> Record | None:
        """The item with this id."""
        rows = self._read(SQL["item"], {"id": id})
        return _record(rows[0]) if rows else None

    def of_key(self, key: str) -> Record | None:
        """The item of a source key."""
        return self.get(item_id(key))

    def claimed_by(self, claim: str) -> str | None:
        """The key of the upload whose output has this key; None if there is none."""
        rows = self._read(SQL["claimed"], {"claim": _to_blob(claim)})
        return _to_text(rows[0]["key"]) if rows else None

    def open_items(self, limit: int) -> list[Record]:
        """The newest items that are not finished."""
        return [_record(row) for row in self._read(SQL["open_items"], {"limit": limit})]

    def last_failures(self, limit: int) -> list[Record]:
        """The newest rejected items."""
        return [_record(row) for row in self._read(SQL["last_failures"], {"limit": limit})]

    def count(self) -> int:
        """The number of items."""
        return int(self._read(SQL["count_all"], {})[0][0])

    def page(self, query: Query) -> Listed:
        """A part of the list; the cost does not depend on how far into the list it is."""
        conditions, values = _conditions(query)
        where = " AND ".join(conditions) or "1"
        total = int(self._read(f"SELECT count(*) FROM items WHERE {where}", values)[0][0])
        column, order = ("score", "ASC") if query.order is Order.WORST else ("created", "DESC")
        if query.after:
            sign = ">" if order == "ASC" else "<"
            where += f" AND ({column}, seq) {sign} (:after_value, :after_seq)"
            values |= {"after_value": query.after[0], "after_seq": query.after[1]}
        sql = f"SELECT * FROM items WHERE {where} ORDER BY {column} {order}, seq {order} LIMIT :limit"
        rows = self._read(sql, values | {"limit": query.limit + 1})
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        return Listed([_record(row) for row in rows], (rows[-1][column], rows[-1]["seq"]) if more else None, total)

    def _add(self, name: str, values: Any) -> None:
        with self._waiting_lock:
            if len(self._waiting.changes) < _MOST_WAITING:
                self._waiting.changes.append((name, values))
            else:
                self._waiting.dropped += 1

    def _write_on(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        """Write what waits in one transaction."""
        if not self._waiting.changes:
            return
        with self._lock:
            with self._waiting_lock:
                waiting, self._waiting = self._waiting, _Waiting()
            if self._connection is None or not waiting.changes:
                return
            try:
                self._write(self._connection, waiting.changes)
            except sqlite3.Error as error:
                log.warning("history_not_written", problem=str(error), items=len(waiting.changes))
            if waiting.dropped:
                log.warning("history_not_written", problem="too many changes at a time", items=waiting.dropped)

    def _write(self, connection: sqlite3.Connection, changes: Sequence[tuple[str, Any]]) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for name, values in changes:
                connection.execute(SQL[name], _finish_values(values) if isinstance(values, Finished) else values)
            self._written += len(changes)
            if self._written >= _PRUNE_EVERY:
                self._written = 0
                connection.execute(SQL["prune"], {"most": self._most})

    def _read(self, sql: str, values: Mapping[str, Any]) -> list[sqlite3.Row]:
        self._flush()
        with self._lock:
            if self._connection is None:
                return []
            return self._connection.execute(sql, values).fetchall()


def encode_cursor(position: tuple[float, int]) -> str:
    """A position in the list as text for an address."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[float, int]:
    """The position that a text stands for. Raises ValueError."""
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise ValueError("not a cursor") from error
    match value:
        case [int() | float() as number, int() as seq] if abs(seq) < 2**63 and math.isfinite(number):
            return float(number), seq
    raise ValueError("not a cursor")


def _conditions(query: Query) -> tuple[list[str], dict[str, Any]]:
    conditions, values = list[str](), dict[str, Any]()
    if query.order is Order.WORST:
        conditions += ["+status = 'done'", "score IS NOT NULL"]  # with the plus, SQLite takes the index by score
    elif query.status is not None:
        conditions.append("status = :status")
        values["status"] = Status.QUEUED if query.status is Status.RUNNING else query.status.value
    if query.undecided:
        conditions.append("decision IS NULL")
    if query.batch:
        conditions.append("batch = :batch")
        values["batch"] = query.batch
    if query.text:
        conditions.append("instr(search, :text)")
        values["text"] = _searchable(query.text)
    return conditions, values


def _key_values(key: str, batch: str | None) -> dict[str, Any]:
    return {"id": item_id(key), "key": _to_blob(key), "search": _searchable(key), "batch": batch}


def _queue_values(key: str, now: float, batch: str | None, job: str, claim: str) -> dict[str, Any]:
    return _key_values(key, batch) | {"now": now, "job": job, "claim": _to_blob(claim) if claim else None}


def _finish_values(end: Finished) -> dict[str, Any]:
    return _key_values(end.key, end.batch) | {
        "job": end.job,
        "status": end.status.value,
        "reason": end.reason,
        "message": end.message.encode("utf-8", "replace").decode(),
        "outputs": _dump(end.outputs),
        "score": end.score,
        "doubts": ",".join(end.doubts),
        "model": end.model,
        "created": end.created,
        "now": end.now,
        "keep": end.keep,
    }


def _record(row: sqlite3.Row) -> Record:
    return Record(
        id=row["id"],
        key=_to_text(row["key"]),
        batch=row["batch"],
        job=row["job"],
        status=Status(row["status"]),
        reason=row["reason"],
        message=row["message"],
        outputs=tuple(StoredOutput(**fields) for fields in json.loads(row["outputs"])),
        score=row["score"],
        doubts=tuple(row["doubts"].split(",")) if row["doubts"] else (),
        model=row["model"],
        decision=row["decision"],
        created=row["created"],
        finished=row["finished"],
    )


def _dump(outputs: Sequence[StoredOutput]) -> str:
    return json.dumps([asdict(output) for output in outputs])


def _searchable(text: str) -> str:
    return text.casefold().encode("utf-8", "replace").decode()


def _to_blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _to_text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(str(path))
        except sqlite3.DatabaseError as error:
            log.warning("history_replaced", path=str(path), problem=str(error))
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{path}{ending}").unlink()
            return _connect(str(path))
    except (OSError, sqlite3.Error) as error:
        remedy = "the list of images ends with this process; make the folder writable to keep it"
        log.warning("history_in_memory", path=str(path), problem=str(error), remedy=remedy)
        return _connect(":memory:")


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        if connection.execute("PRAGMA user_version").fetchone()[0] not in (0, 1):
            raise sqlite3.DatabaseError("of another version of alphadrop")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(SQL["schema"])
    except BaseException:
        connection.close()
        raise
    return connection
