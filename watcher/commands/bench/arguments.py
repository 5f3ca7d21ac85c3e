"""The options of `alphadrop bench` and `alphadrop bench peers`. Imports what measures only when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from watcher.commands.bench.sections import SECTIONS
from watcher.commands.command import Command
from watcher.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from watcher.commands.bench.report import Report

EXAMPLES = f"""\
examples:
  alphadrop bench --quick                          under 3 minutes on 2 idle cores
  alphadrop bench --devices cuda:0,cuda:1          the first GPU alone, then both
  alphadrop bench --only encoders,daemon
  alphadrop bench peers                            the same network in other pipelines
  alphadrop bench peers --images photos --count 100

sections for --only:
{chr(10).join(f"  {name:<12}{what}" for name, what in SECTIONS.items())}

Keep the machine idle while it runs; the report states how busy other processes were. docs/bench/README.md explains
the sections."""
PACKAGES = ("torch", "matplotlib", "cv2")
PACKAGES_FOR_PEERS = (*PACKAGES, "onnxscript")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench` and, as a subcommand, of `bench peers`."""
    parser.set_defaults(run_command=run_bench)
    parser.add_argument("--quick", action="store_true", help="measure fewer and smaller pictures, with fewer repeats")
    _add_common(parser)
    parser.add_argument(
        "--devices",
        default="auto",
        metavar="LIST",
        help="devices to compare, added one after another: cpu,cpu:2 measures one CPU worker, then two that share the "
        "cores; cuda:0,cuda:1 measures the first GPU, then both together (default: auto, all that are found)",
    )
    parser.add_argument("--canvas", type=int, metavar="PIXELS", help="longer side of the coarse canvas, as for `run`")
    parser.add_argument(
        "--strong", default="u2net", metavar="NAME", help="strong model of the section `cascade` (default: u2net)"
    )
    parser.add_argument(
        "--strong-share",
        type=float,
        default=0.15,
        metavar="0-1",
        help="share of the pictures that it gets there (default: 0.15)",
    )
    parser.add_argument("--only", default="", metavar="SECTION,...", help="measure only these sections, listed below")
    commands = parser.add_subparsers(metavar="peers")
    _add_peers(commands.add_parser("peers", help="compare with a plain script and with rembg, on the same network"))


def _add_peers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run_command=run_peers)
    parser.description = (
        "Runs the same pictures and the same network through alphadrop, a plain sequential script and rembg, in turn, "
        "on the same cores. Where rembg is not installed, it is installed into a virtual environment of its own."
    )
    _add_common(parser)
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="pictures to use (default: drawn photos, 1920x1080)"
    )
    parser.add_argument("--count", type=int, default=40, metavar="N", help="images in each run (default: 40)")
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="runs of each pipeline (default: 3)")
    parser.add_argument(
        "--rembg",
        type=Path,
        default=Path(".venv-rembg"),
        metavar="FOLDER",
        help="virtual environment for rembg (default: .venv-rembg)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the report (default: bench-DATE-TIME)")
    parser.add_argument("--model", default="nano", metavar="NAME", help="name of a model, or path of its weights")


def run_bench(args: argparse.Namespace) -> int:
    """Run `alphadrop bench`."""
    _require(PACKAGES)
    _require_drawing_code()
    from watcher.commands.bench.runner import BenchOptions, bench
    from watcher.commands.bench.workload import FULL, QUICK

    only = tuple(filter(None, (word.strip() for word in args.only.split(","))))
    workload = QUICK if args.quick else FULL
    if not 0 < args.strong_share <= 1:
        raise ConfigurationError("--strong-share must be above 0, and at most 1.")
    options = BenchOptions(
        workload, _out(args), args.devices, args.model, args.canvas, only, args.strong, args.strong_share
    )
    return _finish(lambda: bench(options), options.out)


def run_peers(args: argparse.Namespace) -> int:
    """Run `alphadrop bench peers`."""
    _require(PACKAGES_FOR_PEERS)
    if args.count < 1 or args.repeats < 1:
        raise ConfigurationError("--count and --repeats must be 1 or more.")
    if args.images and not args.images.is_dir():
        raise ConfigurationError(f"--images {args.images}: there is no such folder.")
    if not args.images:
        _require_drawing_code()
    from watcher.commands.bench.peers.section import PeerOptions
    from watcher.commands.bench.runner import bench_peers

    options = PeerOptions(args.model, args.images, args.count, args.repeats, args.rembg)
    out = _out(args)
    return _finish(lambda: bench_peers(options, out), out)


def _out(args: argparse.Namespace) -> Path:
    return Path(args.out) if args.out else Path(f"bench-{datetime.now():%Y%m%d-%H%M%S}")


def _require(packages: Sequence[str]) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigurationError(f"`bench` needs {missing[0]}, not installed here: pip install 'alphadrop[bench]'.")


def _require_drawing_code() -> None:
    if find_spec("inference.synthetic") is None:
        raise ConfigurationError(
            "`bench` draws its pictures with inference.synthetic, which the installed package does not contain. "
            "Run it from a checkout of the repository, or give `bench peers` pictures of your own with --images FOLDER."
        )


def _finish(measure: Callable[[], Report], out: Path) -> int:
    """Measure, and print the findings and the path of the report."""
    from inference.errors import ModelError
    from watcher.commands.bench.engine.engine_process import EngineProcessFailed
    from watcher.commands.bench.process_monitor import CommandFailed

    try:
        report = measure()
    except ModelError as error:
        raise ConfigurationError(str(error)) from error
    except (EngineProcessFailed, CommandFailed) as error:
        raise Unavailable(f"the measurement could not be finished: {error}") from error
    console = Console(highlight=False)
    for section in report.sections:
        for finding in section.findings:
            console.print(finding, markup=False, soft_wrap=True)
    console.print(f"The report is {out / 'report.md'}", markup=False, soft_wrap=True)
    return 0


COMMAND = Command("", EXAMPLES, add_arguments, run_bench)
