"""`alphadrop retry`: make rejected images pending again, or send notifications again that the receiver refused."""

from __future__ import annotations

import argparse
from contextlib import closing

from rich.console import Console

from watcher.commands.command import Command, ExitCode
from watcher.commands.status import open_existing_queue
from watcher.commands.terminal import counted, printable
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import OUTPUT_SETTINGS, Group, Settings
from watcher.core.counts import Counts
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Job
from watcher.ingest.retry import retry_matching, retry_records
from watcher.wiring import Wiring


def retry(args: argparse.Namespace) -> ExitCode:
    """Print the key of each image that is pending again, or how many notifications are."""
    if args.notifications:
        count = retry_notifications(load_settings(args))
        Console(stderr=True).print(f"{counted(count, 'notification')} pending again")
        return ExitCode.OK
    jobs = retry_rejected(load_settings(args), args.pattern)
    for job in jobs:
        print(printable(job.ref.key))
    Console(stderr=True).print(f"{counted(len(jobs))} pending again")
    return ExitCode.OK


def retry_rejected(settings: Settings, pattern: str) -> list[Job]:
    """Make the rejected images whose key matches `pattern` pending again; a running daemon finds them in its queue."""
    wiring = Wiring.of(settings)
    sink = wiring.open_sink(Counts())
    if wiring.shared:
        return retry_records(wiring, sink, pattern)
    with closing(open_existing_queue(settings)) as queue:
        return retry_matching(queue, sink, pattern)


def retry_notifications(settings: Settings) -> int:
    """Let the daemon send the notifications again that it has set aside; returns how many there are."""
    if settings.queue:
        raise ConfigurationError(
            "--notifications needs the embedded queue: with --queue, a notification that the receiver refuses is only "
            "logged, as notification_set_aside."
        )
    with closing(open_existing_queue(settings)) as queue:
        return queue.outbox.retry_set_aside()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    places = ("source", "sink", "state", "queue", "visibility", Group.S3)
    add_settings_arguments(parser, *places, *OUTPUT_SETTINGS)
    parser.add_argument(
        "--pattern", default="*", metavar="GLOB", help="only images whose key matches; * matches slashes too"
    )
    parser.add_argument(
        "--notifications",
        action="store_true",
        help="send the notifications again that the receiver has refused, and leave the images as they are",
    )


COMMAND = Command(
    """\
Use it once the cause of the rejections is removed; `alphadrop status` lists
them. The images go to the daemon that is running, or to the next one.""",
    """\
examples:
  alphadrop retry photos cutouts                              all of them
  alphadrop retry photos cutouts --pattern 'shoes/*.jpg'      some of them
  alphadrop retry photos cutouts --notifications              what --notify
                                                              could not deliver

Prints the key of each image that is pending again.""",
    _add_arguments,
    retry,
    "SOURCE SINK",
)
