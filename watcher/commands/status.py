"""`alphadrop status`: what is pending, in flight, finished and rejected, and which notifications wait."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from watcher.commands.command import Command, ExitCode
from watcher.commands.terminal import OUTCOMES, make_table, number_of, outcomes_in, printable
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Outcome, Rejection
from watcher.queues import open_queue
from watcher.queues.base import QueueStats
from watcher.queues.outbox import OutboxStats
from watcher.queues.sqlite import SqliteQueue
from watcher.stores.error_records import read_error_records
from watcher.wiring import Wiring

MOST_REJECTED_SHOWN = 20
MOST_SET_ASIDE_SHOWN = 5


def status(args: argparse.Namespace) -> ExitCode:
    """Print the queue's figures, the newest rejections and, if there are any, the notifications that wait."""
    settings = load_settings(args)
    stats, rejected = read_status(settings, MOST_REJECTED_SHOWN)
    table = queue_table(stats, rejected, outcomes_in(settings))
    if not settings.queue:
        with closing(open_existing_queue(settings)) as queue:
            add_notifications(table, queue.outbox.stats(), queue.outbox.list_set_aside(MOST_SET_ASIDE_SHOWN))
    Console().print(table)
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


def open_existing_queue(settings: Settings) -> SqliteQueue:
    """The embedded queue of this source and sink. Raises ConfigurationError where there is none yet."""
    path = settings.state_path / "queue.sqlite"
    if not path.exists():
        raise ConfigurationError(
            f"There is no queue for these folders yet ({path}): `run` or `once` makes it. "
            "Give the same source, sink and --state as there."
        )
    return open_queue(f"sqlite://{path}")


def queue_table(
    stats: QueueStats, rejected: Sequence[tuple[str, Rejection]], outcomes: Mapping[Outcome, str] = OUTCOMES
) -> Table:
    """Images by state, and the given rejections with their reasons; `outcomes` says what each outcome means."""
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
    for outcome, count in sorted(stats.ended.items(), key=lambda item: (item[0] == Outcome.REJECTED, item[0])):
        table.add_row(outcome, f"{count:,}", outcomes.get(Outcome(outcome), ""))
    for key, rejection in rejected:  # below the row "rejected", which is the last of the outcomes
        table.add_row("", "", Text(printable(f"{key}: {rejection.reason}, {rejection.detail}")))
    return table


def add_notifications(table: Table, stats: OutboxStats, set_aside: Sequence[tuple[str, str]]) -> None:
    """Add the notifications that are not delivered, and for the given keys what the receiver said."""
    if stats.oldest is not None:
        minutes = max(0.0, time.time() - stats.oldest) / 60
        table.add_row(
            "notifications",
            f"{stats.pending:,}",
            f"not delivered; the oldest for {number_of(round(minutes), 'minute')}",
        )
    if stats.set_aside:
        remedy = "refused by the receiver; `alphadrop retry --notifications` sends them again"
        table.add_row("  set aside", f"{stats.set_aside:,}", remedy)
    for key, problem in set_aside:
        table.add_row("", "", Text(printable(f"{key}: {problem}")))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings_arguments(parser, "source", "sink", "state", "queue", "visibility", Group.S3)


COMMAND = Command(
    """\
Reads the queue of the daemon that is running, or of the last one, and lists the
newest rejections with their reasons, and notifications that are not delivered.""",
    """\
examples:
  alphadrop status photos cutouts
  alphadrop status s3://in s3://out --queue sqs://alphadrop

Give the same source, sink, --state and --queue as for the daemon.""",
    _add_arguments,
    status,
    "SOURCE SINK",
)
