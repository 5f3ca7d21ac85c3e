"""The command `alphadrop`.

Exit codes: 0 all good, 2 usage or configuration, 3 finished with rejects, 4 could not finish.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec

import structlog
from rich.console import Console

from watcher.commands import evaluate_flags as judging
from watcher.commands.bench import arguments as bench_arguments
from watcher.config.flags import Parser, add_settings_arguments
from watcher.config.load import load_settings, unknown_variables
from watcher.config.settings import Group, Settings
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.core.jobs import Mode

log = structlog.get_logger(__name__)

OK, USAGE, REJECTS, UNFINISHED = 0, 2, 3, 4

DESCRIPTION = "Drop images into a folder or a bucket, get cut-outs with an alpha channel."
EXAMPLES = {
    "run": (
        "watch a folder or a bucket and cut out whatever appears, until stopped",
        """examples:
  alphadrop run photos cutouts                     the best device there is, found out
  alphadrop run photos cutouts --devices cpu:2     two workers that share the cores
  alphadrop run s3://shop/in s3://shop/out --events sqs://shop-events
  alphadrop run s3://in cutouts --s3-endpoint https://minio.example:9000 --rescan 10
  alphadrop run photos cutouts --model isnet-general-use      a model that rembg has fetched

Stop it with Ctrl-C or SIGTERM: what is in hand is finished. A second one ends it at once, and nothing is lost then
either.""",
    ),
    "once": (
        "cut out all that is in a folder or a bucket now, then exit",
        """examples:
  alphadrop once photos cutouts
  alphadrop once s3://shop/in s3://shop/out
  alphadrop once photos cutouts --output-name '{dir}{name}.png'     x.jpg and x.webp both get an output
  alphadrop once photos cutouts --model mine.onnx --model-contract modnet

Exit code: 0 all good, 2 usage or configuration, 3 finished but some images were rejected, 4 could not finish.""",
    ),
    "watch": (
        "find images and put them into a broker's queue; needs no GPU and no torch",
        """examples:
  alphadrop watch s3://shop/in s3://shop/out --queue sqs://alphadrop --events queue
  alphadrop watch s3://in s3://out --queue amqp://user:secret@rabbit/?queue=alphadrop --events webhook

`work` takes them from there, on as many machines as you like. Give both the same source, sink, model and options.""",
    ),
    "work": (
        "make the cut-outs that a broker's queue asks for, one worker on each device",
        """examples:
  alphadrop work s3://shop/in s3://shop/out --queue sqs://alphadrop
  alphadrop work s3://in s3://out --queue amqp://user:secret@rabbit/?queue=alphadrop --devices cuda:0,cuda:1

The queue may hold what `watch` has found, and the events of AWS, MinIO or Ceph as they are.""",
    ),
    "reconcile": (
        "compare source and sink, and enqueue what has no output or an outdated one",
        """examples:
  alphadrop reconcile s3://shop/in s3://shop/out --dry-run    only say what is missing or outdated
  alphadrop reconcile s3://shop/in s3://shop/out --deep       ask every output which model and options made it
  alphadrop reconcile s3://shop/in s3://shop/out --queue sqs://alphadrop

`watch` and `run` do this by themselves every --rescan seconds, and in full after a change of model or options.""",
    ),
    "status": (
        "what is pending, in flight, done and rejected",
        """examples:
  alphadrop status photos cutouts                  the same places as the `run` or `once` that it is about
  alphadrop status s3://in s3://out --queue sqs://alphadrop""",
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
  alphadrop doctor photos cutouts                  and these folders
  alphadrop doctor --model mine.onnx               and whether this model can be used
  alphadrop doctor s3://in s3://out --queue sqs://alphadrop    and these buckets and this queue""",
    ),
    "bench": ("measure this machine and write a report", bench_arguments.EXAMPLES),
    **judging.EXAMPLES,
    "models": (
        "the models that are there, and how to bring your own",
        """examples:
  alphadrop models
  U2NET_HOME=/srv/models alphadrop models      rembg's models, where they are not in ~/.u2net

What you give as --model is one of
  nano, lite, full                a size of alphadrop's own network
  mine.safetensors                weights that alphadrop's training wrote
  isnet-general-use, u2net, ...   a model that rembg keeps in ~/.u2net
  mine.onnx, mine.pt2, mine.pt    any ONNX, torch.export or TorchScript file

Somebody else's model is fed as its family expects, its contract. Where the file does not tell, choose it with
--model-contract; the table has them.""",
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
    parser = Parser(
        prog="alphadrop",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Start with:\n  alphadrop once PHOTOS CUTOUTS\nand see `alphadrop COMMAND --help` for each command.",
    )
    parser.add_argument("--version", action="version", version=f"alphadrop {version('alphadrop')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    places = ("source", "sink", "state", "queue", "visibility", Group.S3)
    model = ("model", "model_contract", "canvas")
    half = tuple(group for group in Group if group is not Group.MODEL)
    _add(commands, "run", run, *Group)
    _add(
        commands,
        "once",
        once,
        *(group for group in Group if group is not Group.OPERATION),
        "drain",
        "log_format",
        "log_level",
    )
    _add(commands, "watch", watch, *half, *model)
    _add(commands, "work", work, *Group)
    outputs = ("output_name", *model, "png_level")
    kept_out = ("exclude_sink", "after")
    reconcile_parser = _add(commands, "reconcile", reconcile, *places, *kept_out, *outputs)
    reconcile_parser.add_argument(
        "--deep", action="store_true", help="ask every output for its job, instead of going by keys and times"
    )
    reconcile_parser.add_argument("--dry-run", action="store_true", help="list what is to be done, enqueue nothing")
    _add(commands, "status", status, *places)
    retry_parser = _add(commands, "retry", retry, *places, *outputs)
    retry_parser.add_argument(
        "--pattern", default="*", metavar="GLOB", help="only keys that match; * matches slashes too"
    )
    _add(commands, "doctor", doctor, *places, *kept_out, "events", "events_token", "devices", *model, "watch")
    bench_arguments.add_arguments(_add(commands, "bench", bench_arguments.run_bench))
    settings = ("devices", "batch", "threads")
    judging.add_evaluate(_add(commands, "evaluate", evaluate, *model, *settings))
    judging.add_compare(_add(commands, "compare", compare, *settings))
    _add(commands, "models", models)
    return parser


def _add(
    commands: argparse._SubParsersAction[Parser],
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
    return _serve(args, Mode.RUN)


def watch(args: argparse.Namespace) -> int:
    """`alphadrop watch`."""
    return _serve(args, Mode.WATCH)


def work(args: argparse.Namespace) -> int:
    """`alphadrop work`."""
    return _serve(args, Mode.WORK)


def _serve(args: argparse.Namespace, mode: Mode) -> int:
    from watcher.supervisor import Supervisor

    settings = prepare(args, mode)
    if mode is not Mode.RUN and not settings.queue:
        raise ConfigurationError(
            f"`{mode}` needs --queue, the broker's queue between `watch` and `work`, such as sqs://alphadrop; "
            "on one machine, `alphadrop run` does without."
        )
    _require_engine(mode)
    return OK if Supervisor(settings, mode=mode).run() else UNFINISHED


def _require_engine(mode: Mode) -> None:
    """Looks only, since this process never imports torch."""
    if mode.works:
        _require_torch(mode)


def _require_torch(command: str) -> None:
    if find_spec("torch") is None:
        raise ConfigurationError(
            f"`{command}` needs torch, which is not installed here: pip install 'alphadrop[engine]'. "
            "Without it this machine can only `watch`."
        )


def once(args: argparse.Namespace) -> int:
    """`alphadrop once`."""
    from watcher.commands.terminal import Progress, summary
    from watcher.supervisor import Supervisor

    settings = prepare(args, Mode.ONCE, quiet=True)
    if settings.queue:
        raise ConfigurationError("`once` has a queue of its own: leave --queue out, or let `work` empty a broker's.")
    _require_engine(Mode.ONCE)
    with Progress(sys.stderr) as progress:
        supervisor = Supervisor(settings, progress.show, mode=Mode.ONCE)
        finished = supervisor.run()
    rejected = supervisor.rejected()
    if finished or supervisor.run_summary.outcomes or rejected:
        Console().print(summary(supervisor.run_summary, rejected))
    if not finished:
        why = supervisor.why or "It was stopped; the same command goes on from there."
        Console(stderr=True).print(f"alphadrop: could not finish. {why}", markup=False)
        return UNFINISHED
    return REJECTS if rejected else OK


def prepare(args: argparse.Namespace, mode: Mode, *, quiet: bool = False) -> Settings:
    """Settings, checked, and logging set up. With `quiet`, only warnings are logged where a person looks on."""
    from watcher.config.preflight import check_places
    from watcher.telemetry.logs import configure

    settings = load_settings(args)
    check_places(settings, mode)
    level = "warning" if quiet and settings.log_level == "info" and sys.stderr.isatty() else settings.log_level
    configure(settings.log_format, level)
    for name in unknown_variables():
        log.warning("unknown_variable", name=name, cure="unset it, or see --help for the names of settings")
    return settings


def reconcile(args: argparse.Namespace) -> int:
    """`alphadrop reconcile`."""
    from watcher.commands.reconcile import audit
    from watcher.commands.terminal import Search, findings_table, printable

    settings = prepare(args, Mode.ONCE, quiet=True)
    with Search(sys.stderr) as search:
        found = audit(
            settings,
            deep=args.deep,
            enqueue=not args.dry_run,
            say=(lambda ref, finding: print(f"{finding}\t{printable(ref.key)}"))
            if args.dry_run
            else (lambda ref, finding: None),
            progress=search.show,
        )
    Console(stderr=args.dry_run).print(findings_table(found, enqueued=not args.dry_run))
    return OK


def status(args: argparse.Namespace) -> int:
    """`alphadrop status`."""
    from watcher.commands.status import read_status
    from watcher.commands.terminal import queue_table

    stats, rejected = read_status(load_settings(args), 20)
    Console().print(queue_table(stats, rejected))
    return OK


def retry(args: argparse.Namespace) -> int:
    """`alphadrop retry`."""
    from watcher.commands.retry import retry_rejected
    from watcher.commands.terminal import printable

    jobs = retry_rejected(load_settings(args), args.pattern)
    for job in jobs:
        print(printable(job.ref.key))
    Console(stderr=True).print(f"{len(jobs)} images are pending again")
    return OK


def doctor(args: argparse.Namespace) -> int:
    """`alphadrop doctor`."""
    from watcher.commands.doctor import diagnose
    from watcher.commands.terminal import checks_table

    checks = diagnose(args)
    Console().print(checks_table(checks))
    return OK if all(check.ok for check in checks) else USAGE


def evaluate(args: argparse.Namespace) -> int:
    """`alphadrop evaluate`."""
    _require_torch("evaluate")
    from watcher.commands.evaluate import evaluate

    return OK if evaluate(args) else REJECTS


def compare(args: argparse.Namespace) -> int:
    """`alphadrop compare`."""
    _require_torch("compare")
    from watcher.commands.evaluate import compare

    return OK if compare(args) else REJECTS


def models(args: argparse.Namespace) -> int:
    """`alphadrop models`."""
    from watcher.commands.terminal import models_table
    from watcher.config.settings import rembg_path

    Console().print(models_table(rembg_path()))
    return OK


if __name__ == "__main__":
    sys.exit(main())
