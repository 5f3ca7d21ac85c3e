"""The command `alphadrop`: its parser, and how errors become exit codes. Each command is a file in `commands/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from rich.console import Console

from watcher.commands import compare, doctor, evaluate, inspect, models, once, reconcile, retry, run, status
from watcher.commands.bench import arguments as bench
from watcher.commands.command import Command, ExitCode
from watcher.commands.review.command import COMMAND as REVIEW
from watcher.config.flags import Parser
from watcher.core.errors import ConfigurationError, Unavailable

COMMANDS = (
    once.COMMAND,
    run.RUN,
    run.WATCH,
    run.WORK,
    status.COMMAND,
    retry.COMMAND,
    REVIEW,
    reconcile.COMMAND,
    inspect.COMMAND,
    doctor.COMMAND,
    models.COMMAND,
    evaluate.COMMAND,
    compare.COMMAND,
    Command(
        "bench", "measure this machine and write a report", "", bench.EXAMPLES, bench.add_arguments, bench.run_bench
    ),
)
"""In the order of the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns an `ExitCode`."""
    parser = build_parser()
    words = sys.argv[1:] if arguments is None else list(arguments)
    flag = words[0].partition("=")[0] if words else ""
    if flag.startswith("--") and flag not in ("--help", "--version"):
        parser.error(f"{flag} must stand after the command, for example `alphadrop once PHOTOS CUTOUTS {flag}`")
    args = parser.parse_args(words)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return int(args.run_command(args))
    except ConfigurationError as error:
        for line in str(error).splitlines():
            errors.print(f"alphadrop: {line}", markup=False)
        return ExitCode.USAGE
    except Unavailable as error:
        errors.print(f"alphadrop: {error}", markup=False)
        return ExitCode.UNFINISHED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """A parser with every command; each has a --help with examples."""
    parser = Parser(
        prog="alphadrop",
        description="Drop images into a folder or a bucket, get cut-outs with an alpha channel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Start with:\n  alphadrop once PHOTOS CUTOUTS\nand see `alphadrop COMMAND --help` for each command.",
    )
    parser.add_argument("--version", action="version", version=f"alphadrop {version('alphadrop')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for command in COMMANDS:
        _add(commands, command)
    return parser


def _add(commands: argparse._SubParsersAction[Parser], command: Command) -> None:
    parser = commands.add_parser(
        command.name,
        help=command.summary,
        usage=f"alphadrop {command.name} [OPTION]... {command.positional}" if command.positional else None,
        description=f"{command.summary[0].upper()}{command.summary[1:]}.\n\n{command.about}".rstrip(),
        epilog=command.examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=command.run)
    command.add_arguments(parser)


if __name__ == "__main__":
    sys.exit(main())
