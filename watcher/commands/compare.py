"""`alphadrop compare`: run two models on the same pictures, and show those on which they differ most."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry
from inference.models.registry import resolve
from inference.models.thirdparty.contracts import CONTRACTS
from watcher.commands.command import Command, ExitCode, require_torch
from watcher.commands.evaluate import LeftOut, add_out_argument, existing_folder, open_engine, with_progress
from watcher.commands.model_files import ensure_model
from watcher.commands.terminal import number_of
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError


def compare(args: argparse.Namespace) -> ExitCode:
    """Compare two models, print the mean difference, and write the figures and a sheet."""
    require_torch("compare")
    from inference.evaluation.comparison import Comparison, duels
    from inference.evaluation.pairs import pictures_below

    settings, left_out = load_settings(args, need_source_and_sink=False), LeftOut()
    folder = existing_folder(args.images, "IMAGES")
    paths = pictures_below(folder)
    if not paths:
        raise ConfigurationError(f"There is no picture in {folder}.")
    ensure_model(settings, args.a, args.b)
    entries = [_resolve(args.a, args.contract_a, settings), _resolve(args.b, args.contract_b, settings)]
    comparison = Comparison(args.rows)
    with ExitStack() as stack:
        one, other = [stack.enter_context(open_engine(settings, entry)) for entry in entries]
        for duel in with_progress(duels((one, other), folder, paths, left_out), "comparing", len(paths)):
            comparison.add(duel)
    left_out.print()
    if not comparison.lines:
        raise ConfigurationError("None of the pictures could be read.")
    comparison.write(args.out, (_title(entries[0]), _title(entries[1])))
    mean = sum(line[1] for line in comparison.lines) / len(comparison.lines)
    print(f"{number_of(len(comparison.lines), 'picture')}, mean difference of alpha {mean:.4f}")
    print(f"{args.out}: sheet.png has the pictures that differ most, differences.csv has all")
    return ExitCode.REJECTED if left_out else ExitCode.OK


def _resolve(model: str, contract: str, settings: Settings) -> ModelEntry:
    try:
        return resolve(model, None, contract, settings.rembg_path)
    except ModelError as error:
        raise ConfigurationError(str(error)) from error


def _title(entry: ModelEntry) -> str:
    return entry.path.stem if entry.path and entry.contract else entry.name


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    for letter in "ab":
        model = letter.upper()
        parser.add_argument(letter, metavar=model, help="name of a model or path of its file, as for --model of `run`")
        text = f"preprocessing contract of {model}; needed only where alphadrop cannot detect it from the file"
        parser.add_argument(f"--contract-{letter}", default="", choices=CONTRACTS, metavar="NAME", help=text)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder with pictures")
    parser.add_argument("--rows", type=_positive, default=12, metavar="N", help="pictures in the sheet (default: 12)")
    add_out_argument(parser, "comparison")
    add_settings_arguments(parser, "model_source", "offline", "accept_licence", "devices", "batch", "threads")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of 1 or more, not {text!r}")
    return int(text)


COMMAND = Command(
    """\
Both models cut out every picture. The sheet shows the results side by side,
those with the largest differences first.""",
    """\
examples:
  alphadrop compare nano isnet-general-use images    see comparison/
  alphadrop compare old.safetensors new.safetensors images --rows 40
  alphadrop compare nano mine.onnx images --contract-b modnet

Exit code:
  0  every picture was compared
  2  wrong usage or configuration
  3  some pictures could not be read
  4  could not finish, for example because a model could not be fetched""",
    _add_arguments,
    compare,
    "A B IMAGES",
)
