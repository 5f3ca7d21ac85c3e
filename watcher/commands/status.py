"""`alphadrop status`: what is pending, in flight, finished and rejected."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import closing
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from watcher.commands.command import Command, ExitCode
from watcher.commands.terminal import OUTCOMES, make_table, printable
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Outcome, Rejection
from watcher.queues import open_queue
from watcher.queues.base import EmbeddedQueue, QueueStats
from watcher.stores.error_records import read_error_records
from watcher.wiring import Wiring

MOST_REJECTED_SHOWN = 20


def status(args: argparse.Namespace) -> ExitCode:
    """Print the queue's figures and the newest rejections."""
    stats, rejected = read_status(load_settings(args), MOST_REJECTED_SHOWN)
    Console().print(queue_table(stats, rejected))
    return ExitCode.OK


def read_status(settings: Settings, most: int) -> tuple[QueueStats, list[tuple[str, Rejection]]]:
    """The queue's figures, and at most `most` rejected images by key. Raises ConfigurationError or Unavailable."""
    if not settings.queue:
        with closing(open_existing_queue(settings)) as queue:
            return queue.stats(), [(job.ref.key, rejection) for job, rejection in queue.rejected(most)]
    wiring, counts = Wiring.of(settings), Counts()
    with closing(wiring.open_queue(counts)) as shared:
        records = islice(read_error_records(wiring.open_sink(counts)), most)
        return shared.stats(), [(record.key, record.rejection) for record in records]


def open_existing_queue(settings: Settings) -> EmbeddedQueue:
    """The embedded queue of this source and sink. Raises ConfigurationError where there is none yet."""
    path = settings.state_path / "queue.sqlite"
    if not path.exists():
        raise ConfigurationError(
            f"There is no queue for these folders yet ({path}): `run` or `once` makes it. "
            "Give the same source, sink and --state as there."
        )
    return open_queue(f"sqlite://{path}")


def queue_table(stats: QueueStats, rejected: Sequence[tuple[str, Rejection]]) -> Table:
    """Images by state, and the given rejections with their reasons."""
    table = make_table("state", "images", "")
    table.add_row(
        "pending", f"{stats.pending:,}", f"{stats.pending_bytes / 1e6:,.1f} MB" if stats.pending_bytes else ""
    )
    if stats.suspects:
        table.add_row("  suspects", f"{stats.suspects:,}", "in flight when a worker died; run again one at a time")
    unknown = "in_flight" in stats.unknown
    table.add_row(
        "in flight", *(("unknown", "this broker does not report it") if unknown else (f"{stats.in_flight:,}", ""))
    )
    for outcome, count in sorted(stats.ended.items()):
        table.add_row(outcome, f"{count:,}", OUTCOMES.get(Outcome(outcome), ""))
    for key, rejection in rejected:
        table.add_row("", "", Text(printable(f"{key}: {rejection.reason}, {rejection.detail}")))
    return table


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_arguments(parser, "source", "sink", "state", "queue", "visibility", Group.S3)


COMMAND = Command(
    "status",
    "show how many images are pending, in flight, finished and rejected",
    """\
Reads the queue of the daemon that is running, or of the last one, and lists the
newest rejections with their reasons.""",
    """\
examples:
  alphadrop status photos cutouts
  alphadrop status s3://in s3://out --queue sqs://alphadrop

Give the same source, sink, --state and --queue as for the daemon.""",
    _add_arguments,
    status,
    "SOURCE SINK",
)
