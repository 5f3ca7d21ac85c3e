"""Which models there are: names, files, digests. Imports no torch, so that the supervisor can compute job ids."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelError

FORMAT = "alphadrop.cvunet/1"
"""What a weights file of ours says in its safetensors metadata, with `size` and `canvas`."""

PIPELINE = 1
"""Counts up whenever the same weights would make different outputs: part of every job id."""

MAX_HEADER = 16 << 20


@dataclass(frozen=True)
class Size:
    """A named size of CV-UNet."""

    name: str
    megabytes: int
    """Of the weights at 32 bits."""
    about: str


CATALOGUE = (
    Size("nano", 8, "small and quick: products on plain or soft backgrounds; shipped"),
    Size("lite", 65, "8 times the weights: finer shapes; train it on a GPU"),
    Size("full", 196, "24 times the weights: the largest; train it on a GPU"),
)


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be loaded. `digest` is the sha256 of its weights (or of its options, for the fake)."""

    kind: str
    name: str
    size: str
    canvas: int
    digest: str
    path: Path | None


def shipped_path(size: str) -> Path:
    """Where the package keeps the weights of a size, whether they are there or not."""
    return Path(str(importlib.resources.files("inference.models"))) / "weights" / f"cvunet-{size}.safetensors"


def resolve(model: str, canvas: int | None = None) -> ModelEntry:
    """The entry for a size's name, a .safetensors path, or `fake[:options]`. Raises ModelError, saying what to do."""
    if model == "fake" or model.startswith("fake:"):
        return ModelEntry("fake", model, "fake", canvas or 128, hashlib.sha256(model.encode()).hexdigest(), None)
    names = [size.name for size in CATALOGUE]
    path = shipped_path(model) if model in names else Path(model)
    if not path.is_file():
        raise ModelError(_missing(model, names))
    metadata = read_metadata(path)
    side = canvas or int(metadata["canvas"])
    if side < 64 or side % 64:
        raise ModelError(f"--canvas {side}: the canvas must be a multiple of 64, for example 320.")
    return ModelEntry("cvunet", model, metadata["size"], side, _digest(path), path)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weights file of ours. Raises ModelError for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER:
                raise ValueError("no safetensors header")
            metadata = json.loads(file.read(length)).get("__metadata__", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is no safetensors file ({error}); give a file that alphadrop's training wrote."
        ) from error
    if metadata.get("format") != FORMAT or not {"size", "canvas"} <= metadata.keys():
        raise ModelError(
            f"{path} is a safetensors file, but not of the format {FORMAT}; other models are not supported yet."
        )
    return dict(metadata)


def _missing(model: str, names: list[str]) -> str:
    """What to do about weights that are not there."""
    if model in names:
        return (
            f"The weights of {model!r} are not shipped. Train them with "
            f"`python -m inference.training train --size {model} --device cuda --out runs/{model}`, write them with "
            f"`python -m inference.training export --out runs/{model}`, or use --model nano."
        )
    return f"There is no model {model!r}: give one of {', '.join(names)}, or the path of a .safetensors file."


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
