"""The page's list of images."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from watcher.web import history as module
from watcher.web.history import (
    SQL,
    Finished,
    History,
    Order,
    Query,
    Status,
    StoredOutput,
    decode_cursor,
    encode_cursor,
    item_id,
)

OUTPUT = StoredOutput("cutout", "a.png", 10, 20, 30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "page.sqlite"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    with closing(History(path)) as opened:
        yield opened


def done(key: str, now: float, score: float | None = None, batch: str | None = None) -> Finished:
    return Finished(key, f"job of {key}", Status.DONE, now, now, batch, outputs=(OUTPUT,), score=score, model="nano")


def keys(history: History, query: Query) -> list[str]:
    """The keys of all parts of a list."""
    found = []
    while True:
        listed = history.page(query)
        found += [record.key for record in listed.records]
        if listed.next is None:
            return found
        query = Query(**{**vars(query), "after": decode_cursor(encode_cursor(listed.next))})


def test_an_image_is_queued_and_finished_under_one_id(history: History) -> None:
    history.queued("uploads/b/ä.jpg", now=5.0, batch="b", claim="uploads/b/ä.png")
    history.set_job("uploads/b/ä.jpg", "j1")
    queued = history.of_key("uploads/b/ä.jpg")
    assert queued is not None and (queued.status, queued.job, queued.created) == (Status.QUEUED, "j1", 5.0)
    assert history.claimed_by("uploads/b/ä.png") == "uploads/b/ä.jpg"
    history.finished(done("uploads/b/ä.jpg", 9.0, 0.4))
    record = history.get(queued.id)
    assert record is not None and (record.status, record.score, record.finished) == (Status.DONE, 0.4, 9.0)
    assert (record.outputs, record.created, record.batch) == ((OUTPUT,), 5.0, "b")


def test_a_late_job_does_not_open_what_is_finished(history: History) -> None:
    history.queued("a.jpg", now=1.0)
    history.finished(done("a.jpg", 2.0))
    history.set_job("a.jpg", "late")
    record = history.of_key("a.jpg")
    assert record is not None and record.status is Status.DONE and record.job == "job of a.jpg"


def test_a_decision_ends_with_the_outputs_that_were_looked_at(history: History) -> None:
    history.finished(done("a.jpg", 1.0))
    history.set_decision("a.jpg", "accepted")
    history.finished(Finished("a.jpg", "job of a.jpg", Status.DONE, 2.0, 2.0, keep=True))
    record = history.of_key("a.jpg")
    assert record is not None and record.decision == "accepted" and record.outputs == (OUTPUT,), "already done"
    history.finished(done("a.jpg", 3.0))
    record = history.of_key("a.jpg")
    assert record is not None and record.decision is None


def test_lists_are_ordered_filtered_and_come_in_parts(history: History) -> None:
    for number in range(25):
        batch = "even" if number % 2 == 0 else None
        history.finished(
            done(f"Sh%oe_{number:02}.jpg", float(number // 2), 1 - number / 100 if number else None, batch)
        )
    history.queued("queued.jpg", now=100.0)
    newest = keys(history, Query(limit=7))
    assert newest == ["queued.jpg", *(f"Sh%oe_{number:02}.jpg" for number in reversed(range(25)))]
    assert keys(history, Query(order=Order.WORST, limit=10)) == [f"Sh%oe_{n:02}.jpg" for n in reversed(range(1, 25))]
    assert len(keys(history, Query(batch="even", limit=4))) == 13
    assert keys(history, Query(text="%OE_1", limit=3)) == [f"Sh%oe_{number}.jpg" for number in reversed(range(10, 20))]
    assert keys(history, Query(status=Status.QUEUED)) == keys(history, Query(status=Status.RUNNING)) == ["queued.jpg"]
    assert history.page(Query(batch="even", limit=4)).total == 13
    history.set_decision("Sh%oe_24.jpg", "rejected")
    assert keys(history, Query(order=Order.WORST, undecided=True))[0] == "Sh%oe_23.jpg"


def test_names_that_are_no_text_and_messages_that_are_not_either_are_kept(history: History) -> None:
    key = "caf\udce9.jpg"
    history.finished(Finished(key, "j", Status.REJECTED, 1.0, 1.0, reason="truncated", message="bad \udce9"))
    record = history.of_key(key)
    assert record is not None and record.key == key and record.message == "bad ?"
    assert keys(history, Query(text="CAF")) == [key]


def test_what_was_written_is_there_after_a_restart_and_a_kill(path: Path) -> None:
    first = History(path)
    first.finished(done("a.jpg", 1.0))
    first._flush()  # as its thread does twice a second
    with closing(History(path)) as second:  # the first one is still open, as after a kill
        assert keys(second, Query()) == ["a.jpg"]
    first.close()


def test_the_oldest_items_are_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRUNE_EVERY", 10)
    with closing(History(path, most=5)) as history:
        for number in range(12):
            history.finished(done(f"{number:02}.jpg", float(number)))
            history.count()
        assert 5 <= history.count() < 10 and keys(history, Query())[0] == "11.jpg"


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(4080)])
def test_a_damaged_file_is_replaced(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with closing(History(path)) as history:
        history.finished(done("a.jpg", 1.0))
        assert keys(history, Query()) == ["a.jpg"]


def test_where_nothing_can_be_kept_the_list_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder must be")
    with closing(History(tmp_path / "state" / "page.sqlite")) as history:
        history.finished(done("a.jpg", 1.0))
        assert keys(history, Query()) == ["a.jpg"]


def test_more_changes_than_the_disk_takes_are_dropped_not_heaped_up(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    with history._lock:  # nothing can be written meanwhile
        for number in range(10):
            history.finished(done(f"{number}.jpg", float(number)))
        assert len(history._waiting.changes) <= 3
    assert history.count() <= 6


def test_a_closed_list_is_empty_and_takes_no_harm(path: Path) -> None:
    history = History(path)
    history.close()
    history.finished(done("a.jpg", 1.0))
    assert history.get(item_id("a.jpg")) is None


NO_CURSORS = ["", "x", "e30", "WzFd", "WyJhIiwxXQ", "W05hTiwxXQ", "WzEsOTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ", "é"]


@pytest.mark.parametrize("text", NO_CURSORS)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor(text)


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(after=(1.0, 1)),
        Query(batch="b", after=(1.0, 1)),
        Query(status=Status.REJECTED, after=(1.0, 1)),
        Query(order=Order.WORST, after=(0.5, 1)),
    ],
)
def test_no_list_sorts_or_walks_all_items(path: Path, query: Query) -> None:
    seen: list[str] = []
    with closing(History(path)) as history:
        assert history._connection is not None
        history._connection.set_trace_callback(seen.append)
        history.page(query)
        history._connection.set_trace_callback(None)
        [sql] = [sql for sql in seen if sql.startswith("SELECT *")]
        plan = [row["detail"] for row in history._connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert not any("TEMP B-TREE" in step for step in plan), plan
    assert all(re.search(r"USING INDEX|USING COVERING INDEX", step) for step in plan), plan


def test_every_statement_is_valid(path: Path) -> None:
    with closing(History(path)), closing(sqlite3.connect(path)) as connection:
        for name, sql in SQL.items():
            if name != "schema":
                text = re.sub(r"--.*", "", sql)
                connection.execute(f"EXPLAIN {text}", dict.fromkeys(re.findall(r":(\w+)", text), 1))
