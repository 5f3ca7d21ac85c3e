"""What the commands print on a terminal: tables, and text that is safe to print."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from watcher.config.settings import Settings
from watcher.core.jobs import Outcome
from watcher.stores.base import FAILED_PREFIX

OUTCOMES = {
    Outcome.WRITTEN: "cut out",
    Outcome.ALREADY_DONE: "the output was there already",
    Outcome.STALE: "replaced in the meantime; the new version counts",
    Outcome.GONE: "deleted in the meantime",
    Outcome.REJECTED: "see _failed/ in the sink; `alphadrop retry` tries again",
}
"""What each outcome means to a user."""
_WITHOUT_RECORDS = "their error records are gone; `alphadrop retry` tries again"


def outcomes_in(settings: Settings) -> dict[Outcome, str]:
    """What each outcome means in this sink, whose folder of error records a user may have deleted."""
    sink = settings.sink_path
    is_gone = sink is not None and not (sink / FAILED_PREFIX).is_dir()
    return OUTCOMES | ({Outcome.REJECTED: _WITHOUT_RECORDS} if is_gone else {})


def printable(text: str) -> str:
    """Escape what could control a terminal or start a new line in text from outside, such as a key."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def make_table(*columns: str) -> Table:
    """An empty table without vertical lines; a column called "images" holds numbers."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column == "images" else "left", overflow="fold")
    return table


def number_of(number: int, noun: str = "image") -> str:
    """A number of things.

    >>> number_of(1), number_of(0), number_of(1000, "output")
    ('1 image', '0 images', '1,000 outputs')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def counted(number: int, noun: str = "image") -> str:
    """A number of things with its verb.

    >>> counted(1), counted(2), counted(1000, "notification")
    ('1 image is', '2 images are', '1,000 notifications are')
    """
    return f"{number_of(number, noun)} {'is' if number == 1 else 'are'}"


def shorten(keys: Sequence[str], count: int) -> str:
    """`keys`, the first of `count`, as one line that says how many more there are."""
    names = printable(", ".join(keys))
    return names if count <= len(keys) else f"{names} and {count - len(keys):,} more"
