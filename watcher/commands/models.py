"""`alphadrop models`: list the models that there are, and fetch those that are known by name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference.errors import ModelError
from inference.models.registry import CATALOGUE, resolve, shipped_path
from inference.models.thirdparty.contracts import CONTRACTS
from inference.models.thirdparty.known import KNOWN, KnownModel
from watcher.commands.command import Command, ExitCode
from watcher.commands.model_files import download
from watcher.commands.terminal import make_table
from watcher.config.flags import add_settings_arguments
from watcher.config.load import load_settings
from watcher.config.settings import rembg_path
from watcher.core.errors import ConfigurationError
from watcher.telemetry.logs import configure

FILES = """
--model also takes a file: .safetensors, which `python -m inference.training export` wrote, or .onnx, .pt2 or .pt of \
another model. If alphadrop cannot detect the preprocessing contract of such a model, choose one:"""


def models(args: argparse.Namespace) -> ExitCode:
    """Print the tables of models and contracts."""
    folder, console = rembg_path(), Console()
    console.print(models_table(folder))
    console.print(f"Known models are kept in {folder}; `alphadrop models pull NAME` fetches one.", markup=False)
    console.print(FILES)
    console.print(contracts_table())
    return ExitCode.OK


def pull(args: argparse.Namespace) -> ExitCode:
    """Fetch models by name, or check the files that are there; without a name, the models of the settings."""
    settings = load_settings(args, need_source_and_sink=False)
    on_terminal = settings.log_level == "info" and sys.stderr.isatty()  # which has a bar instead
    configure(settings.log_format, "warning" if on_terminal else settings.log_level)
    included = {size.name for size in CATALOGUE}
    unknown = [name for name in args.names if name not in KNOWN and name not in included]
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]} is not a known model: use one of {', '.join(KNOWN)}. A model of your own needs no pull: "
            "give --model its path."
        )
    for name in args.names or filter(None, (settings.model, settings.strong)):
        if known := KNOWN.get(name):
            path = download(known, settings)
            print(f"{name}: {path}, {known.megabytes}, SHA-256 {known.sha256}")
            print(f"{name}: licence {_licence(known)}, {known.licence.url}")
        else:
            print(f"{name}: nothing to fetch; it is not one of the models that are fetched by name")
    return ExitCode.OK


def models_table(folder: Path) -> Table:
    """Every named model: its size, what it is good at, its licence and the state of its file in `folder`."""
    table = make_table("model", "size", "good at; licence, file")
    for column in table.columns[:2]:
        column.no_wrap = True  # the last one gets what is left of a narrow terminal
    for size in CATALOGUE:
        try:
            entry = resolve(size.name)
            found, megabytes = f"included, sha256 {entry.digest[:12]}", shipped_path(size.name).stat().st_size / 1e6
        except ModelError:
            found, megabytes = "not included", size.megabytes
        table.add_row(size.name, f"{megabytes:.0f} MB", _about(size.about, "MIT", found))
    for known in KNOWN.values():
        path = known.path_in(folder)
        found = _describe(path, known) if path.is_file() else "not fetched"
        table.add_row(known.name, known.megabytes, _about(known.good_at, _licence(known), found))
    return table


def contracts_table() -> Table:
    """The values of --model-contract."""
    table = make_table("--model-contract", "made for")
    for contract in CONTRACTS.values():
        table.add_row(contract.name, contract.about)
    return table


def _about(good_at: str, licence: str, found: str) -> Text:
    return Text.assemble(good_at, "\n", (f"{licence}; {found}", "dim"))


def _licence(known: KnownModel) -> str:
    return known.licence.name + ("" if known.licence.commercial else ", no commercial use")


def _describe(path: Path, known: KnownModel) -> str:
    try:
        entry = resolve(str(path), contract=known.contract)
    except ModelError as error:
        return str(error)
    facts = [f"{entry.contract}, sha256 {entry.digest[:12]}"]
    facts += [entry.limits] if entry.limits else []
    facts += ["not the file that rembg publishes"] if entry.digest != known.sha256 else []
    return "; ".join(facts)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="pull")
    pulling = commands.add_parser(
        "pull",
        help="fetch known models once, and check their digests",
        usage="alphadrop models pull [OPTION]... [NAME]...",
        description="Fetch known models into the folder that rembg uses, ~/.u2net or $U2NET_HOME. An interrupted "
        "download is resumed. A file is put in place only when its digest is right; a file that is already there is "
        "checked.",
    )
    pulling.set_defaults(run_command=pull)
    pulling.add_argument("names", nargs="*", metavar="NAME", help="known models (default: the one that --model names)")
    add_settings_arguments(pulling, "model", "model_source", "offline", "accept_licence", "log_format", "log_level")


COMMAND = Command(
    """\
The value of --model is one of
  nano, lite, full                a size of alphadrop's own network
  mine.safetensors                weights from alphadrop's training
  isnet-general-use, u2net, ...   a known model, kept in ~/.u2net as rembg does
  mine.onnx, mine.pt2, mine.pt    any ONNX, torch.export or TorchScript file

A third-party model has a preprocessing contract: how its input is scaled and
normalised, and what its output means. Where alphadrop cannot detect it from the
file, choose one of those in the table with --model-contract.""",
    """\
examples:
  alphadrop models
  alphadrop models pull isnet-general-use    fetch it now, not at the first run
  U2NET_HOME=/srv/models alphadrop models    if they are not in ~/.u2net""",
    _add_arguments,
    models,
)
