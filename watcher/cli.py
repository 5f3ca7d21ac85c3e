"""The command `alphadrop`.

Exit codes: 0 all good, 2 usage or configuration, 3 finished with rejects, 4 could not finish.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

import structlog
from rich.console import Console

from watcher.errors import ConfigurationError, Unavailable
from watcher.settings import GROUPS, Settings, add_settings_arguments, load_settings

log = structlog.get_logger(__name__)

OK, USAGE, REJECTS, UNFINISHED = 0, 2, 3, 4

DESCRIPTION = "Drop images into a folder, get cut-outs with an alpha channel."
EXAMPLES = {
    "run": (
        "watch a folder and cut out whatever appears, until stopped",
        """examples:
  alphadrop run photos cutouts                     the best device there is, found out
  alphadrop run photos cutouts --devices cpu:2     two workers that share the cores
  alphadrop run photos cutouts --http off          no metrics and probes

Stop it with Ctrl-C or SIGTERM: what is in hand is finished. A second one ends it at once, and nothing is lost then
either.""",
    ),
    "once": (
        "cut out all that is in a folder now, then exit",
        """examples:
  alphadrop once photos cutouts
  alphadrop once photos cutouts --output-name '{dir}{name}.png'     x.jpg and x.webp both get an output

Exit code: 0 all good, 2 usage or configuration, 3 finished but some images were rejected, 4 could not finish.""",
    ),
    "status": (
        "what is pending, in flight, done and rejected",
        """example:
  alphadrop status photos cutouts                  the same folders as the `run` or `once` that it is about""",
    ),
    "retry": (
        "take rejected images up again",
        """examples:
  alphadrop retry photos cutouts                          all of them
  alphadrop retry photos cutouts --pattern 'shoes/*.jpg'  those whose key matches

A running daemon takes them up by itself; else they wait for the next `run` or `once`.""",
    ),
    "doctor": (
        "check devices, codecs, weights, folders and limits",
        """examples:
  alphadrop doctor                                 this machine
  alphadrop doctor photos cutouts                  and these folders""",
    ),
    "models": (
        "the models and where their weights come from",
        """example:
  alphadrop models""",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = build_parser().parse_args(arguments)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        command: Callable[[argparse.Namespace], int] = args.run_command
        return command(args)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            errors.print(f"alphadrop: {line}", markup=False)
        return USAGE
    except Unavailable as error:
        errors.print(f"alphadrop: {error}", markup=False)
        return UNFINISHED
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The commands; every one has a --help with an example."""
    parser = argparse.ArgumentParser(
        prog="alphadrop",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Start with:\n  alphadrop once PHOTOS CUTOUTS\nand see `alphadrop COMMAND --help` for each command.",
    )
    parser.add_argument("--version", action="version", version=f"alphadrop {version('alphadrop')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    folders = ("source", "sink", "state")
    _add(commands, "run", run, *GROUPS)
    _add(
        commands, "once", once, *(group for group in GROUPS if group != "Operation"), "drain", "log_format", "log_level"
    )
    _add(commands, "status", status, *folders)
    retry_parser = _add(commands, "retry", retry, *folders)
    retry_parser.add_argument(
        "--pattern", default="*", metavar="GLOB", help="only keys that match; * matches slashes too"
    )
    _add(commands, "doctor", doctor, *folders, "devices", "model", "canvas", "watch")
    _add(commands, "models", models)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    function: Callable[[argparse.Namespace], int],
    *settings: str,
) -> argparse.ArgumentParser:
    summary, examples = EXAMPLES[name]
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if settings:
        add_settings_arguments(parser, *settings)
    parser.set_defaults(run_command=function)
    return parser


def run(args: argparse.Namespace) -> int:
    """`alphadrop run`."""
    from watcher.supervisor import Supervisor

    settings = prepare(args)
    return OK if Supervisor(settings).run() else UNFINISHED


def once(args: argparse.Namespace) -> int:
    """`alphadrop once`."""
    from watcher.show import Progress, summary
    from watcher.supervisor import Supervisor

    settings = prepare(args, quiet=True)
    with Progress(sys.stderr) as progress:
        supervisor = Supervisor(settings, progress.show)
        finished = supervisor.run(once=True)
    rejected = supervisor.rejected()
    if finished or supervisor.tally.outcomes or rejected:
        Console().print(summary(supervisor.tally, rejected))
    if not finished:
        why = supervisor.why or "It was stopped; the same command goes on from there."
        Console(stderr=True).print(f"alphadrop: could not finish. {why}", markup=False)
        return UNFINISHED
    return REJECTS if rejected else OK


def prepare(args: argparse.Namespace, *, quiet: bool = False) -> Settings:
    """Settings, checked, and logging set up. With `quiet`, only warnings are logged where a person looks on."""
    from watcher.logs import configure
    from watcher.settings import check_folders, unknown_variables

    settings = load_settings(args)
    check_folders(settings)
    level = "warning" if quiet and settings.log_level == "info" and sys.stderr.isatty() else settings.log_level
    configure(settings.log_format, level)
    for name in unknown_variables():
        log.warning("unknown_variable", name=name, cure="unset it, or see --help for the names of settings")
    return settings


def status(args: argparse.Namespace) -> int:
    """`alphadrop status`."""
    from watcher.queues import open_queue
    from watcher.show import queue_table

    settings = load_settings(args)
    path = settings.state_path / "queue.sqlite"
    if not path.exists():
        raise ConfigurationError(
            f"There is no queue for these folders yet ({path}): `run` or `once` makes it. "
            "Give the same source, sink and --state as there."
        )
    queue = open_queue(f"sqlite://{path}")
    Console().print(queue_table(queue.stats(), queue.rejected(20)))
    queue.close()
    return OK


def retry(args: argparse.Namespace) -> int:
    """`alphadrop retry`."""
    from watcher.compose import retry_rejected

    jobs = retry_rejected(load_settings(args), args.pattern)
    for job in jobs:
        print(job.ref.key)
    Console(stderr=True).print(f"{len(jobs)} images are pending again")
    return OK


def doctor(args: argparse.Namespace) -> int:
    """`alphadrop doctor`."""
    from watcher.doctor import diagnose
    from watcher.show import checks_table

    checks = diagnose(args)
    Console().print(checks_table(checks))
    return OK if all(check.ok for check in checks) else USAGE


def models(args: argparse.Namespace) -> int:
    """`alphadrop models`."""
    from watcher.show import models_table

    Console().print(models_table())
    return OK


if __name__ == "__main__":
    sys.exit(main())
