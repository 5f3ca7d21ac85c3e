"""`alphadrop evaluate`: score a model on pictures whose true mattes are known. `compare` uses its helpers too."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import track

from inference.errors import DeviceLost, ModelError
from inference.models.entry import ModelEntry
from watcher.commands.command import Command, ExitCode, require_torch
from watcher.commands.model_files import ensure_model
from watcher.commands.terminal import number_of
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.fleet.cores import available_cores, threads_per_worker
from watcher.fleet.devices import expand_devices
from watcher.wiring import find_model

if TYPE_CHECKING:
    from inference.engine import Engine

T = TypeVar("T")
MOST_NAMED = 20
"""Pictures that are named when they were left out; any further ones are only counted."""


def evaluate(args: argparse.Namespace) -> ExitCode:
    """Score a model, print the means, and write the figures and a sheet of the worst pictures."""
    require_torch("evaluate")
    if find_spec("cv2") is None:
        raise ConfigurationError(
            "`evaluate` measures with OpenCV, which is not installed here: pip install 'alphadrop[quality]'"
        )
    from inference.evaluation.pairs import judge_pairs, match
    from inference.evaluation.scoring import Verdict, table

    settings, left_out, verdict = load_settings(args, need_source_and_sink=False), LeftOut(), Verdict()
    pairs = match(existing_folder(args.images, "IMAGES"), existing_folder(args.alphas, "ALPHAS"), left_out)
    if not pairs:
        left_out.print()
        raise ConfigurationError(f"No picture of {args.images} has a matte of the same name in {args.alphas}.")
    ensure_model(settings)
    entry = find_model(settings)
    with open_engine(settings, entry) as engine:
        for one in with_progress(judge_pairs(engine, pairs, left_out), "scoring", len(pairs)):
            if one is not None:
                verdict.add(one)
    left_out.print()
    if not verdict.scores:
        raise ConfigurationError("None of the pictures could be scored.")
    verdict.write(args.out)
    Console().print(table(f"{entry.name} on {number_of(len(verdict.scores), 'picture')}", verdict.mean))
    print(f"{args.out}: figures.csv has every picture, worst.png those with the largest MAD")
    return ExitCode.REJECTED if left_out else ExitCode.OK


class LeftOut:
    """Pictures that could not be used, and why. True if there are any."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __call__(self, name: str, why: str) -> None:
        self._lines.append(f"left out: {name!r}: {why}")

    def __len__(self) -> int:
        return len(self._lines)

    def print(self) -> None:
        """Print them to standard error, the first MOST_NAMED by name."""
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        for line in self._lines[:MOST_NAMED]:
            errors.print(line, markup=False)
        if len(self) > MOST_NAMED:
            errors.print(f"... and {len(self) - MOST_NAMED} more")


@contextmanager
def open_engine(settings: Settings, entry: ModelEntry) -> Iterator[Engine]:
    """An engine for one model on the first of the devices. Raises ConfigurationError or Unavailable."""
    from inference.engine import Engine, EngineOptions
    from inference.models import open_model

    threads = settings.threads or threads_per_worker(1, available_cores())
    options = EngineOptions(expand_devices(settings.devices)[0], batch=settings.batch, threads=threads)
    try:
        with Engine(options, model=open_model(entry)) as engine:
            yield engine
    except ModelError as error:
        raise ConfigurationError(f"--model: {error}") from error
    except DeviceLost as error:
        raise Unavailable(str(error)) from error


def existing_folder(path: Path, argument: str) -> Path:
    """The folder that an argument names. Raises ConfigurationError."""
    if not path.is_dir():
        raise ConfigurationError(f"{argument} {path} is not a folder.")
    return path


def with_progress(items: Iterable[T], what: str, count: int) -> Iterable[T]:
    """The items, with a progress bar on standard error if that is a terminal."""
    console = Console(stderr=True)
    return track(items, what, count, console=console, disable=not console.is_terminal, transient=True)


def add_out_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """The --out flag."""
    text = f"folder to write the results to (default: {default})"
    parser.add_argument("--out", type=Path, default=Path(default), metavar="FOLDER", help=text)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, what in (("images", "folder with pictures"), ("alphas", "folder with their true mattes")):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=what)
    add_out_argument(parser, "evaluation")
    fetching = ("model_source", "offline", "accept_licence")
    add_settings_arguments(parser, "model", "model_contract", "canvas", *fetching, "devices", "batch", "threads")


COMMAND = Command(
    """\
images/shoes/a.jpg is compared with alphas/shoes/a.png: the same path, with any
extension. A matte has the size of its picture. It is a greyscale picture, black
where there is no object, or the alpha channel of a picture that has one.

SAD, Grad and Conn are sums over a picture, in thousands. MSE, MAD and IoU are
means over its pixels. Lower is better, except for IoU.""",
    """\
examples:
  alphadrop evaluate images alphas          the shipped model, into evaluation/
  alphadrop evaluate images alphas --model mine.onnx --out mine

Exit code:
  0  every picture was scored
  2  wrong usage or configuration
  3  some pictures were left out
  4  could not finish, for example because the model could not be fetched""",
    _add_arguments,
    evaluate,
    "IMAGES ALPHAS",
)
