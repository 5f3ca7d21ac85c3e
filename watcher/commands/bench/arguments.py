"""The options of `alphadrop bench`, and what runs it. Loads nothing that measures until it is to."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from watcher.commands.bench.sections import SECTIONS
from watcher.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from watcher.commands.bench.report import Report

EXAMPLES = f"""\
examples:
  alphadrop bench --quick                          under 3 minutes on 2 idle cores
  alphadrop bench --devices cuda:0,cuda:1          the first card alone, then both
  alphadrop bench --only encoders,daemon
  alphadrop bench peers                            the same network in other pipelines
  alphadrop bench peers --images photos --count 100

sections for --only:
{chr(10).join(f"  {key:<12}{what}" for key, what in SECTIONS.items())}

Keep the machine idle meanwhile; the report says how busy others were. docs/bench/README.md explains it."""
NEEDED = {"torch": "bench", "matplotlib": "bench", "cv2": "bench"}
NEEDED_BY_PEERS = NEEDED | {"onnxscript": "bench"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`bench` and, below it, `bench peers`."""
    parser.set_defaults(run_command=run_bench)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller pictures, fewer repeats")
    _add_common(parser)
    parser.add_argument(
        "--devices",
        default="auto",
        metavar="LIST",
        help="what is compared: cpu,cpu:2 is one worker, then two on the same cores; cuda:0,cuda:1 is the first card, "
        "then both (default: auto)",
    )
    parser.add_argument("--canvas", type=int, metavar="PIXELS", help="as for `run`")
    parser.add_argument("--only", default="", metavar="SECTION,...", help="measure these alone, see below")
    commands = parser.add_subparsers(metavar="peers")
    _add_peers(commands.add_parser("peers", help="the same network in a plain script and in rembg, see its --help"))


def _add_peers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run_command=run_peers)
    parser.description = (
        "The same pictures and the same network through alphadrop, a plain sequential script and rembg, in turn, on "
        "equally many cores. rembg is installed into an environment of its own where it is not to be found."
    )
    _add_common(parser)
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="pictures to use (default: drawn photos, 1920x1080)"
    )
    parser.add_argument("--count", type=int, default=40, metavar="N", help="images in each run (default: 40)")
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="runs of each (default: 3)")
    parser.add_argument(
        "--rembg",
        type=Path,
        default=Path(".venv-rembg"),
        metavar="FOLDER",
        help="environment for rembg (default: .venv-rembg)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the report (default: bench-DATE-TIME)")
    parser.add_argument("--model", default="nano", metavar="NAME", help="name of a model, or path of its weights")


def run_bench(args: argparse.Namespace) -> int:
    """`alphadrop bench`."""
    _require(NEEDED)
    from watcher.commands.bench.command import Options, bench
    from watcher.commands.bench.plan import FULL, QUICK

    only = tuple(filter(None, (word.strip() for word in args.only.split(","))))
    plan = QUICK if args.quick else FULL
    options = Options(plan, _out(args), args.devices, args.model, args.canvas, only)
    return _finish(lambda: bench(options), options.out)


def run_peers(args: argparse.Namespace) -> int:
    """`alphadrop bench peers`."""
    _require(NEEDED_BY_PEERS)
    from watcher.commands.bench.command import bench_peers
    from watcher.commands.bench.peers.race import PeerOptions

    if args.count < 1 or args.repeats < 1:
        raise ConfigurationError("--count and --repeats must be 1 or more.")
    if args.images and not args.images.is_dir():
        raise ConfigurationError(f"--images {args.images}: there is no such folder.")
    options = PeerOptions(args.model, args.images, args.count, args.repeats, args.rembg)
    out = _out(args)
    return _finish(lambda: bench_peers(options, out), out)


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out) if args.out else Path(f"bench-{datetime.now():%Y%m%d-%H%M%S}")


def _require(needed: Mapping[str, str]) -> None:
    missing = [module for module in needed if find_spec(module) is None]
    if missing:
        raise ConfigurationError(f"`bench` needs {missing[0]}, not installed here: pip install 'alphadrop[bench]'.")


def _finish(measure: Callable[[], Report], out: Path) -> int:
    """Run it; what comes out, in a few lines."""
    from inference.errors import ModelError
    from watcher.commands.bench.children import ChildDied
    from watcher.commands.bench.daemon.process_log import CommandFailed

    try:
        report = measure()
    except ModelError as error:
        raise ConfigurationError(str(error)) from error
    except (ChildDied, CommandFailed) as error:
        raise Unavailable(f"not all could be measured: {error}") from error
    console = Console(highlight=False)
    for section in report.sections:
        for finding in section.findings:
            console.print(finding, markup=False, soft_wrap=True)
    console.print(f"The report is {out / 'report.md'}", markup=False, soft_wrap=True)
    return 0
