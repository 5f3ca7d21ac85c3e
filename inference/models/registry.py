"""The model registry: resolves names and paths to entries. Imports no torch, so that supervisors compute job ids."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry, digest_of
from inference.models.thirdparty.contracts import REMBG

FORMAT = "alphadrop.cvunet/2"
"""What a weights file of ours says in its safetensors metadata, with `size` and `canvas`."""
OLD_FORMAT = "alphadrop.cvunet/1"
"""What it said while nano's encoder was another one."""

PIPELINE = 4
"""Incremented whenever the same weights would give different outputs; part of every job's id."""

MAX_HEADER = 16 << 20
"""Bytes of a safetensors header, at most."""


@dataclass(frozen=True)
class Size:
    """A named size of CV-UNet."""

    name: str
    megabytes: int
    """Size of the weights at 32 bits."""
    about: str


CATALOGUE = (
    Size("nano", 12, "small and quick, with an encoder that has learnt from photographs; shipped"),
    Size("lite", 65, "5 times the weights: finer shapes; train it on a GPU"),
    Size("full", 196, "15 times the weights: the largest; train it on a GPU"),
)


def shipped_path(size: str) -> Path:
    """Return the path of a size's weights in the package, whether the file exists or not."""
    return Path(str(importlib.resources.files("inference.models"))) / "weights" / f"cvunet-{size}.safetensors"


def resolve(model: str, canvas: int | None = None, contract: str = "", folder: Path | None = None) -> ModelEntry:
    """Make the entry of a model: a size's name, a file's path, the name of one of rembg's models, or `fake[:options]`.

    `canvas` overrides the canvas's longer side in pixels. `contract` is the preprocessing contract of a third-party
    model, where its file does not determine it. `folder` is where rembg keeps its models, by default ~/.u2net. Raises
    ModelError, whose message says what to do.
    """
    if model == "fake" or model.startswith("fake:"):
        return ModelEntry("fake", model, "fake", canvas or 128, hashlib.sha256(model.encode()).hexdigest(), None)
    names = [size.name for size in CATALOGUE]
    path = shipped_path(model) if model in names else Path(model).expanduser()
    if model in REMBG and not path.is_file():
        path, contract = _rembg_file(model, folder), contract or REMBG[model]
    if not path.is_file():
        raise ModelError(_missing(model, names))
    if is_ours(path):
        return _ours(model, path, canvas, contract)
    from inference.models.thirdparty.inspection import resolve_third_party

    return resolve_third_party(model, path, canvas, contract)


def known_files(folder: Path) -> dict[str, Path]:
    """Find the models that rembg has downloaded to a folder: paths by name."""
    return {name: folder / f"{name}.onnx" for name in REMBG if (folder / f"{name}.onnx").is_file()}


def verify(entry: ModelEntry) -> None:
    """Raise ModelError if the file has changed since the entry was made."""
    if entry.path is not None and resolve(str(entry.path), contract=entry.contract).digest != entry.digest:
        raise ModelError(f"{entry.path} has changed since alphadrop was started: restart alphadrop.")


def _rembg_file(name: str, folder: Path | None) -> Path:
    path = (folder or Path("~/.u2net").expanduser()) / f"{name}.onnx"
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist: rembg downloads it when it first uses {name!r}; or use a file's path."
        )
    return path


def is_ours(path: Path) -> bool:
    """Whether a file is safetensors, by its name or its first bytes."""
    if path.suffix in (".onnx", ".pt", ".pth", ".pt2", ".ts", ".torchscript"):
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or head[8:] == b"{"


def _ours(model: str, path: Path, canvas: int | None, contract: str) -> ModelEntry:
    if contract:
        raise ModelError(f"--model-contract {contract}: {path} has alphadrop's own CV-UNet, which needs no contract.")
    metadata = read_metadata(path)
    side = canvas or int(metadata["canvas"])
    if side < 64 or side % 64:
        raise ModelError(f"--canvas {side}: the canvas must be a multiple of 64, for example 320.")
    return ModelEntry("cvunet", model, metadata["size"], side, digest_of(path), path)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of our own weights. Raises ModelError for any other file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= MAX_HEADER:
                raise ValueError("no safetensors header")
            metadata = json.loads(file.read(length)).get("__metadata__", {})
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a safetensors file ({error}); use a file that alphadrop's training wrote."
        ) from error
    if metadata.get("format") == OLD_FORMAT:
        raise ModelError(
            f"{path} was trained for the network of an earlier version: train it again, or use --model nano."
        )
    if metadata.get("format") != FORMAT or not {"size", "canvas"} <= metadata.keys():
        raise ModelError(
            f"{path} is a safetensors file, but not of the format {FORMAT}: it holds weights without a network. Use a "
            "file that holds both: ONNX, TorchScript or a torch.export archive."
        )
    return dict(metadata)


def _missing(model: str, names: list[str]) -> str:
    """Say what to do about a model that does not exist."""
    if model in names:
        return (
            f"The weights of {model!r} are not included. In a checkout of the repository, train them with "
            f"`python -m inference.training train --size {model} --device cuda --out runs/{model}`, write them with "
            f"`python -m inference.training export --out runs/{model}`, or use --model nano."
        )
    return (
        f"There is no model {model!r}: use {', '.join(names)}, one of rembg's models ({', '.join(REMBG)}), or the path "
        "of a file (.safetensors, .onnx, .pt2 or TorchScript)."
    )
