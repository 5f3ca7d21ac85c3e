"""The command `alphadrop`: its parser, and how errors become exit codes. Each command is a file in `commands/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from watcher.commands.exit_code import ExitCode
from watcher.config.parser import Parser
from watcher.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from watcher.commands.command import Command


@dataclass(frozen=True)
class Entry:
    """A command in the list of commands. It is imported when it is chosen, so that the list takes no time."""

    name: str
    summary: str
    """One line for the list of commands."""
    module: str = ""
    """Where the command is, below `watcher.commands`; by default, in the module of its name."""
    variable: str = "COMMAND"

    def load(self) -> Command:
        """Import the command."""
        command: Command = getattr(import_module(f"watcher.commands.{self.module or self.name}"), self.variable)
        return command


COMMANDS = (
    Entry("once", "cut out every image that is in a folder or bucket now, then exit"),
    Entry("run", "watch a folder or bucket and cut out every image that arrives, until stopped", "run", "RUN"),
    Entry("watch", "find images and put them into a message queue; needs no GPU and no torch", "run", "WATCH"),
    Entry("work", "cut out the images that a message queue lists, with one worker on each device", "run", "WORK"),
    Entry("status", "show how many images are pending, in flight, finished and rejected"),
    Entry("retry", "make rejected images pending again"),
    Entry("review", "list the cut-outs that need a person, the least sure first", "review.command"),
    Entry("reconcile", "compare source and sink, and enqueue images whose output is missing or outdated"),
    Entry("inspect", "print what an output records: its image, job, model, options and where the object is"),
    Entry("doctor", "check devices, model, folders, buckets and queues, and say what to fix"),
    Entry("models", "list the models that there are, and fetch those that are known by name"),
    Entry("evaluate", "score a model on pictures whose true mattes you have"),
    Entry("compare", "show where two models differ, in one sheet of pictures"),
    Entry("bench", "measure this machine and write a report", "bench.arguments"),
)
"""In the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns an `ExitCode`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = build_parser(*words[:1])
    flag = words[0].partition("=")[0] if words else ""
    if flag.startswith("--") and flag not in ("--help", "--version"):
        parser.error(f"{flag} must stand after the command, for example `alphadrop once PHOTOS CUTOUTS {flag}`")
    args = parser.parse_args(words)
    try:
        return int(args.run_command(args))
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"alphadrop: {line}", file=sys.stderr)
        return ExitCode.USAGE
    except Unavailable as error:
        print(f"alphadrop: {error}", file=sys.stderr)
        return ExitCode.UNFINISHED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def build_parser(first: str | None = None) -> argparse.ArgumentParser:
    """A parser with every command; each has a --help with examples.

    With the `first` word of a command line, only the command of this name is complete, if there is one.
    """
    parser = Parser(
        prog="alphadrop",
        description="Drop images into a folder or a bucket, get cut-outs with an alpha channel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Start with:\n  alphadrop once PHOTOS CUTOUTS\nand see `alphadrop COMMAND --help` for each command.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show program's version number and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for entry in COMMANDS:
        if first in (None, entry.name):
            _add(commands, entry, entry.load())
        else:
            commands.add_parser(entry.name, help=entry.summary)
    return parser


def _add(commands: argparse._SubParsersAction[Parser], entry: Entry, command: Command) -> None:
    parser = commands.add_parser(
        entry.name,
        help=entry.summary,
        usage=f"alphadrop {entry.name} [OPTION]... {command.positional}" if command.positional else None,
        description=f"{entry.summary[0].upper()}{entry.summary[1:]}.\n\n{command.about}".rstrip(),
        epilog=command.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=command.run)
    command.add_arguments(parser)


class _ShowVersion(argparse.Action):
    """Prints the version, which is looked up only then: that reads every installed package's folder."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib.metadata import version

        print(f"alphadrop {version('alphadrop')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
