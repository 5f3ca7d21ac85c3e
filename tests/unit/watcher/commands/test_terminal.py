"""Tables and names on a terminal: image names come from outside and are escaped."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from watcher.commands.once import summary_table
from watcher.commands.status import queue_table
from watcher.commands.terminal import printable
from watcher.core.jobs import ImageRef, Job, Rejection
from watcher.core.reasons import Reason
from watcher.queues.base import QueueStats
from watcher.telemetry.run_summary import RunSummary

EVIL = "a\x1b[2J\x1b]0;title\x07\r\nOK.jpg"


@pytest.mark.parametrize("text", ["shoes/ä b.jpg", "日本.jpg", "a'b\"[red].jpg"])
def test_ordinary_names_are_printed_unchanged(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", [EVIL, "\x9b31m", "\u202egpj.exe", "\udcff.jpg", "\u2028"])
def test_control_characters_are_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown


def shown(run: RunSummary) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(summary_table(run, []))
    return page.getvalue()


def test_the_summary_counts_the_folders_that_could_not_be_read() -> None:
    words = " ".join(shown(RunSummary(unreadable_folders=2)).split())
    assert "unreadable 2 folders were skipped; let this user read them" in words
    assert "nothing to do" not in words


@pytest.mark.parametrize(
    ("empty", "said"),
    [(2, "show hardly anything: a.jpg, b.jpg"), (1502, "show hardly anything: a.jpg, b.jpg and 1,500 more")],
)
def test_the_summary_names_a_few_of_the_empty_cut_outs(empty: int, said: str) -> None:
    run = RunSummary(Counter(written=2000), empty=empty, first_empty=["a.jpg", "b.jpg"])
    assert f"{empty:,}" in shown(run) and said in shown(run)


def test_the_summary_leaves_out_empty_cut_outs_where_there_are_none() -> None:
    assert "empty" not in shown(RunSummary(Counter(written=2000)))


def test_tables_contain_no_control_characters_from_names() -> None:
    rejection = Rejection(Reason.TRUNCATED, f"{EVIL} ends early")
    job = Job("id", ImageRef(EVIL, "1", 1), "x.png")
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(queue_table(QueueStats(), [(EVIL, rejection)]))
    console.print(summary_table(RunSummary(empty=1, first_empty=[EVIL]), [(job, rejection)]))
    assert page.getvalue().count(r"a\x1b[2J") == 4
    assert all(line.isprintable() for line in page.getvalue().split("\n"))


def test_a_number_that_the_queue_cannot_know_is_unknown_rather_than_0() -> None:
    page = io.StringIO()
    Console(file=page, width=200).print(queue_table(QueueStats(27, unknown=frozenset({"in_flight"})), []))
    assert "27" in page.getvalue() and "unknown" in page.getvalue()
