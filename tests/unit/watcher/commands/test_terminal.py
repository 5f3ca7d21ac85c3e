"""Tables and names on a terminal: image names come from outside and are escaped."""

from __future__ import annotations

import io
import time
from collections import Counter

import pytest
from rich.console import Console

from watcher.commands.once import Progress, summary_table
from watcher.commands.status import add_notifications, queue_table
from watcher.commands.terminal import printable
from watcher.core.jobs import ImageRef, Job, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.protocol import ImageReport
from watcher.queues.base import QueueStats
from watcher.queues.outbox import OutboxStats
from watcher.telemetry.run_summary import RunSummary

EVIL = "a\x1b[2J\x1b]0;title\x07\r\nOK.jpg"


@pytest.mark.parametrize("text", ["shoes/ä b.jpg", "日本.jpg", "a'b\"[red].jpg"])
def test_ordinary_names_are_printed_unchanged(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", [EVIL, "\x9b31m", "\u202egpj.exe", "\udcff.jpg", "\u2028"])
def test_control_characters_are_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and "\\" in shown


def shown(run: RunSummary, *, has_images: bool = True) -> str:
    page = io.StringIO()
    Console(file=page, width=200).print(summary_table(run, [], lambda: has_images))
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


def test_the_summary_counts_the_unsure_cut_outs_and_names_the_command_that_lists_them() -> None:
    run = RunSummary(Counter(written=3), unsure=2)
    assert "unsure 2 more likely bad than good; `alphadrop review SINK` lists them" in " ".join(shown(run).split())
    assert "unsure" not in shown(RunSummary(Counter(written=3)))


@pytest.mark.parametrize(("confidence", "unsure"), [(None, 0), (0.49, 1), (0.5, 0)])
def test_an_image_is_unsure_below_a_confidence_of_a_half(confidence: float | None, unsure: int) -> None:
    run = RunSummary()
    run.record(ImageReport(key="a.jpg", job="j", outcome=Outcome.WRITTEN, stages={}, confidence=confidence))
    assert run.unsure == unsure


def test_the_summary_says_why_there_is_nothing_to_do() -> None:
    assert "every image of the source has its output" in shown(RunSummary())
    words = " ".join(shown(RunSummary(), has_images=False).split())
    assert "no images 0 no file in the source has one of these extensions: avif, bmp" in words


def test_rejections_are_listed_below_the_row_that_counts_them() -> None:
    page = io.StringIO()
    stats = QueueStats(ended={"rejected": 1, "written": 9})
    Console(file=page, width=200).print(queue_table(stats, [("a.jpg", Rejection(Reason.TRUNCATED, "ends early"))]))
    rows = [line.split()[0] for line in page.getvalue().splitlines() if line.strip()]
    assert rows[-3:] == ["written", "rejected", "a.jpg:"]


def test_the_total_of_the_progress_bar_never_falls_while_an_image_is_between_queue_and_summary() -> None:
    progress, run = Progress(io.StringIO()), RunSummary()
    totals = []
    for finished, left in ((0, 10), (0, 8), (2, 5), (5, 5), (6, 6)):
        run.outcomes["written"] = finished
        progress.show(run, QueueStats(left))
        totals.append(progress.total)
    assert totals == [10, 10, 10, 10, 12]


def test_tables_contain_no_control_characters_from_names() -> None:
    rejection = Rejection(Reason.TRUNCATED, f"{EVIL} ends early")
    job = Job("id", ImageRef(EVIL, "1", 1), "x.png")
    page = io.StringIO()
    console = Console(file=page, width=200)
    console.print(queue_table(QueueStats(), [(EVIL, rejection)]))
    console.print(summary_table(RunSummary(empty=1, first_empty=[EVIL]), [(job, rejection)], lambda: True))
    assert page.getvalue().count(r"a\x1b[2J") == 4
    assert all(line.isprintable() for line in page.getvalue().split("\n"))


def test_a_notification_that_waits_for_a_minute_waits_for_no_minutes() -> None:
    table, page = queue_table(QueueStats(), []), io.StringIO()
    add_notifications(table, OutboxStats(pending=1, oldest=time.time() - 60), [])
    Console(file=page, width=200).print(table)
    assert "the oldest for 1 minute\n" in "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def test_a_number_that_the_queue_cannot_know_is_unknown_rather_than_0() -> None:
    page = io.StringIO()
    Console(file=page, width=200).print(queue_table(QueueStats(27, unknown=frozenset({"in_flight"})), []))
    assert "27" in page.getvalue() and "unknown" in page.getvalue()
