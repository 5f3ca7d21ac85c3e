"""What a terminal is shown of names that others have chosen."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from watcher.commands.terminal import printable, queue_table, summary
from watcher.core.jobs import ImageRef, Job, Rejection
from watcher.core.reasons import Reason
from watcher.queues.base import QueueStats
from watcher.telemetry.run_summary import RunSummary

EVIL = "a\x1b[2J\x1b]0;title\x07\r\nOK.jpg"


@pytest.mark.parametrize("text", ["shoes/ä b.jpg", "日本.jpg", "a'b\"[red].jpg"])
def test_names_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", [EVIL, "\x9b31m", "\u202egpj.exe", "\udcff.jpg", "\u2028"])
def test_what_steers_a_terminal_is_spelled_out(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown


def shown(run: RunSummary) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(summary(run, []))
    return page.getvalue()


@pytest.mark.parametrize(
    ("empty", "said"),
    [(2, "show hardly anything: a.jpg, b.jpg"), (1502, "show hardly anything: a.jpg, b.jpg and 1,500 more")],
)
def test_the_summary_names_a_few_of_the_empty_cut_outs(empty: int, said: str) -> None:
    run = RunSummary(Counter(written=2000), empty=empty, first_empty=["a.jpg", "b.jpg"])
    assert f"{empty:,}" in shown(run) and said in shown(run)


def test_the_summary_says_nothing_of_empty_cut_outs_where_there_are_none() -> None:
    assert "empty" not in shown(RunSummary(Counter(written=2000)))


def test_tables_hold_no_names_that_steer_a_terminal() -> None:
    rejection = Rejection(Reason.TRUNCATED, f"{EVIL} ends early")
    job = Job("id", ImageRef(EVIL, "1", 1), "x.png")
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(queue_table(QueueStats(), [(EVIL, rejection)]))
    console.print(summary(RunSummary(empty=1, first_empty=[EVIL]), [(job, rejection)]))
    assert page.getvalue().count(r"a\x1b[2J") == 4
    assert all(line.isprintable() for line in page.getvalue().split("\n"))
