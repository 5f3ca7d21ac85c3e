"""`alphadrop evaluate` and `alphadrop compare`: how good a model is, in figures and to look at."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from inference.engine import Engine, EngineOptions
from inference.errors import DeviceLost, ModelError
from inference.evaluation.pairs import pictures_below
from inference.models import open_model
from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from watcher.compose import find_model
from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Unavailable
from watcher.fleet.cores import available_cores, threads_per_worker
from watcher.fleet.devices import expand

T = TypeVar("T")
MOST_NAMED = 20
"""So many pictures that were left out are named, and the others counted."""


class LeftOut:
    """What could not be used, to be told at the end."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __call__(self, name: str, why: str) -> None:
        self._lines.append(f"left out: {name!r}: {why}")

    def __len__(self) -> int:
        return len(self._lines)

    def print(self) -> None:
        """To standard error."""
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        for line in self._lines[:MOST_NAMED]:
            errors.print(line, markup=False)
        if len(self) > MOST_NAMED:
            errors.print(f"... and {len(self) - MOST_NAMED} more")


def evaluate(args: argparse.Namespace) -> bool:
    """Score a model on pictures with true mattes; False if some were left out."""
    _require("cv2", "`evaluate` measures with OpenCV", "quality")
    from inference.evaluation.pairs import judge_pairs, match
    from inference.evaluation.scoring import Verdict, table

    settings, left_out, verdict = load_settings(args, need_places=False), LeftOut(), Verdict()
    pairs = match(_folder(args.images, "IMAGES"), _folder(args.alphas, "ALPHAS"), left_out)
    if not pairs:
        left_out.print()
        raise ConfigurationError(f"No picture of {args.images} has a matte of the same name in {args.alphas}.")
    entry = find_model(settings)
    with _engine(settings, entry) as engine:
        for one in _shown(judge_pairs(engine, pairs, left_out), "judging", len(pairs)):
            if one is not None:
                verdict.add(one)
    left_out.print()
    if not verdict.scores:
        raise ConfigurationError("Not one picture could be judged.")
    verdict.write(args.out)
    Console().print(table(f"{entry.name} on {len(verdict.scores)} pictures", verdict.mean))
    print(f"{args.out}: figures.csv has every picture, worst.png those with the largest MAD")
    return not len(left_out)


def compare(args: argparse.Namespace) -> bool:
    """Lay two models side by side; False if some pictures were left out."""
    from inference.evaluation.comparison import Comparison, duels

    settings, left_out = load_settings(args, need_places=False), LeftOut()
    folder = _folder(args.images, "IMAGES")
    paths = pictures_below(folder)
    if not paths:
        raise ConfigurationError(f"There is no picture in {folder}.")
    entries = [_entry(args.a, args.contract_a, settings), _entry(args.b, args.contract_b, settings)]
    comparison = Comparison(args.rows)
    with ExitStack() as stack:
        one, other = [stack.enter_context(_engine(settings, entry)) for entry in entries]
        for duel in _shown(duels((one, other), folder, paths, left_out), "comparing", len(paths)):
            comparison.add(duel)
    left_out.print()
    if not comparison.lines:
        raise ConfigurationError("Not one picture could be read.")
    comparison.write(args.out, (_short(entries[0]), _short(entries[1])))
    mean = sum(line[1] for line in comparison.lines) / len(comparison.lines)
    print(f"{len(comparison.lines)} pictures, alpha differs by {mean:.4f} in the mean")
    print(f"{args.out}: sheet.png has those that differ most, differences.csv all")
    return not len(left_out)


def _entry(model: str, contract: str, settings: Settings) -> ModelEntry:
    try:
        return resolve(model, None, contract, settings.rembg_path)
    except ModelError as error:
        raise ConfigurationError(str(error)) from error


@contextmanager
def _engine(settings: Settings, entry: ModelEntry) -> Iterator[Engine]:
    """On the first of the devices. Raises ConfigurationError or Unavailable."""
    threads = settings.threads or threads_per_worker(1, available_cores())
    options = EngineOptions(expand(settings.devices)[0], batch=settings.batch, threads=threads)
    try:
        with Engine(options, model=open_model(entry)) as engine:
            yield engine
    except ModelError as error:
        raise ConfigurationError(f"--model: {error}") from error
    except DeviceLost as error:
        raise Unavailable(str(error)) from error


def _require(module: str, why: str, extra: str) -> None:
    if find_spec(module) is None:
        raise ConfigurationError(f"{why}, which is not installed here: pip install 'alphadrop[{extra}]'")


def _folder(path: Path, name: str) -> Path:
    if not path.is_dir():
        raise ConfigurationError(f"{name} {path} is no folder.")
    return path


def _shown(items: Iterable[T], what: str, count: int) -> Iterable[T]:
    console = Console(stderr=True)
    return track(items, what, count, console=console, disable=not console.is_terminal, transient=True)


def _short(entry: ModelEntry) -> str:
    return entry.path.stem if entry.path and entry.contract else entry.name
