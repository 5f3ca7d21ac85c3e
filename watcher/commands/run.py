"""`alphadrop run`, `watch` and `work`: the daemon as a whole, and its two halves for several machines."""

from __future__ import annotations

import argparse
from textwrap import fill

from watcher.commands.command import Command, ExitCode, prepare, require_torch
from watcher.commands.model_files import ensure_model
from watcher.config.flags import add_settings_arguments, flag_of
from watcher.config.settings import OUTPUT_SETTINGS, Group
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode

_STOP = """\
Ctrl-C or SIGTERM stops it once the images in flight are finished, or after
--drain seconds. A second signal stops it at once. Nothing is lost either way:
the next start does what is left.

A folder that is missing or read-only at the start is an error at a terminal;
a service waits for it, as it does for a bucket or a broker.

Exit code:
  0  stopped by a signal
  2  wrong usage or configuration
  4  could not start or go on, and the last line says why; or stopped, but images
     in flight were not finished in time"""
_SAME = fill(
    f"Give `watch` and `work` the same source and sink, and the same {', '.join(map(flag_of, OUTPUT_SETTINGS))}: "
    "together they identify a job.",
    width=79,
    break_on_hyphens=False,
)


def serve(args: argparse.Namespace, mode: Mode) -> ExitCode:
    """Run the daemon, or the half of it that `mode` names, until a signal stops it."""
    from watcher.supervisor import Supervisor  # with the web server, which no other command needs

    settings = prepare(args, mode, waits=True)
    if mode is not Mode.RUN and not settings.queue:
        raise ConfigurationError(
            f"`{mode}` needs --queue, the message queue between `watch` and `work`, such as sqs://alphadrop; "
            "on a single machine, use `alphadrop run`, which needs none."
        )
    if mode.works:
        require_torch(mode)
        ensure_model(settings, *filter(None, (settings.model, settings.strong)))
    return ExitCode.OK if Supervisor(settings, mode=mode).run() else ExitCode.UNFINISHED


def _add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """All but the devices' settings. The model is part of every job, so it must be the one that `work` uses."""
    groups = [group for group in Group if group is not Group.MODEL]
    add_settings_arguments(parser, *groups, *OUTPUT_SETTINGS)


RUN = Command(
    """\
Each image becomes a PNG with an alpha channel, at the same path below the sink.
An image whose output is already there is skipped, so the command can
be stopped and started again at any time.""",
    f"""\
examples:
  alphadrop run photos cutouts                  on all GPUs, or else on the CPU
  alphadrop run photos cutouts --devices cpu:2  two workers that share the CPU
  alphadrop run photos cutouts --model isnet-general-use
                                                a known model, fetched once
  alphadrop run s3://shop/in s3://shop/out --events sqs://shop-events
  alphadrop run s3://in cutouts --s3-endpoint https://minio.example:9000

{_STOP}""",
    add_settings_arguments,
    lambda args: serve(args, Mode.RUN),
    "SOURCE SINK",
)
WATCH = Command(
    """\
`watch` on one machine and `work` on any number of machines do together what
`run` does on one.""",
    f"""\
examples:
  alphadrop watch s3://shop/in s3://shop/out --queue sqs://alphadrop

  export ALPHADROP_QUEUE='amqp://user:secret@rabbit/?queue=alphadrop'
  alphadrop watch s3://in s3://out              keeps the password out of `ps`

{_SAME}

{_STOP}""",
    _add_watch_arguments,
    lambda args: serve(args, Mode.WATCH),
    "SOURCE SINK",
)
WORK = Command(
    """\
The queue may hold what `watch` has found, and the event notifications that AWS,
MinIO or Ceph send to it.""",
    f"""\
examples:
  alphadrop work s3://shop/in s3://shop/out --queue sqs://alphadrop

  export ALPHADROP_QUEUE='amqp://user:secret@rabbit/?queue=alphadrop'
  alphadrop work s3://in s3://out --devices cuda:0,cuda:1

{_SAME}

{_STOP}""",
    add_settings_arguments,
    lambda args: serve(args, Mode.WORK),
    "SOURCE SINK",
)
