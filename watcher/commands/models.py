"""`alphadrop models`: the models that are here, and how to add one."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference.errors import ModelError
from inference.models.registry import CATALOGUE, known_files, resolve
from inference.models.thirdparty.contracts import CONTRACTS, REMBG
from watcher.commands.command import Command, ExitCode
from watcher.commands.terminal import make_table
from watcher.config.settings import rembg_path


def models(args: argparse.Namespace) -> ExitCode:
    """Print the table of models."""
    Console().print(models_table(rembg_path()))
    return ExitCode.OK


def models_table(folder: Path) -> Table:
    """Every named model with the state of its weights, rembg's models in `folder`, and every preprocessing contract."""
    table = make_table("model", "weights", "about")
    for size in CATALOGUE:
        try:
            entry = resolve(size.name)
            found = f"shipped, canvas {entry.canvas}, sha256 {entry.digest[:12]}"
        except ModelError as error:
            found = str(error)
        table.add_row(size.name, Text(found), f"{size.about} ({size.megabytes} MB at 32 bits)")
    files = known_files(folder)
    for name, path in files.items():
        table.add_row(name, Text(_describe(path, REMBG[name])), Text(f"downloaded by rembg, {path}"))
    if not files:
        table.add_row("rembg's", Text(f"none in {folder}"), ", ".join(REMBG))
    table.add_row("FILE", ".safetensors", "your own training: `python -m inference.training export` wrote it")
    for contract in CONTRACTS.values():
        table.add_row("FILE", f".onnx, .pt2, .pt with --model-contract {contract.name}", contract.about)
    return table


def _describe(path: Path, contract: str) -> str:
    try:
        entry = resolve(str(path), contract=contract)
    except ModelError as error:
        return str(error)
    return f"{entry.contract}, sha256 {entry.digest[:12]}" + (f"; {entry.limits}" if entry.limits else "")


COMMAND = Command(
    "models",
    "list the models that are here, and show how to add your own",
    """\
The value of --model is one of
  nano, lite, full                a size of alphadrop's own network
  mine.safetensors                weights from alphadrop's training
  isnet-general-use, u2net, ...   a model that rembg keeps in ~/.u2net
  mine.onnx, mine.pt2, mine.pt    any ONNX, torch.export or TorchScript file

A third-party model has a preprocessing contract: how its input is scaled and
normalised, and what its output means. Where alphadrop cannot detect it from the
file, choose one of those in the table with --model-contract.""",
    """\
examples:
  alphadrop models
  U2NET_HOME=/srv/models alphadrop models    if rembg's are not in ~/.u2net""",
    lambda parser: None,
    models,
)
