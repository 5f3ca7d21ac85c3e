"""Which models there are: names, files, digests. Imports no torch, so that the supervisor can compute job ids."""

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

PIPELINE = 3
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
    Size("nano", 12, "small and quick, with an encoder that has learnt from photographs; shipped"),
    Size("lite", 65, "5 times the weights: finer shapes; train it on a GPU"),
    Size("full", 196, "15 times the weights: the largest; train it on a GPU"),
)


def shipped_path(size: str) -> Path:
    """Where the package keeps the weights of a size, whether they are there or not."""
    return Path(str(importlib.resources.files("inference.models"))) / "weights" / f"cvunet-{size}.safetensors"


def resolve(model: str, canvas: int | None = None, contract: str = "", folder: Path | None = None) -> ModelEntry:
    """The entry for a size's name, a file's path, a name of rembg's, or `fake[:options]`.

    `contract` says what somebody else's model is fed, where its file does not; `folder` is where rembg keeps
    its models.
    Raises ModelError, saying what to do.
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
    """The models of rembg's that are there, by name."""
    return {name: folder / f"{name}.onnx" for name in REMBG if (folder / f"{name}.onnx").is_file()}


def verify(entry: ModelEntry) -> None:
    """Raises ModelError where the file is another one by now than when the entry was made."""
    if entry.path is not None and resolve(str(entry.path), contract=entry.contract).digest != entry.digest:
        raise ModelError(f"{entry.path} has changed since alphadrop was started: start it again.")


def _rembg_file(name: str, folder: Path | None) -> Path:
    path = (folder or Path("~/.u2net").expanduser()) / f"{name}.onnx"
    if not path.is_file():
        raise ModelError(
            f"{path} is not there: rembg puts it there when it first uses {name!r}; or give a file's path."
        )
    return path


def is_ours(path: Path) -> bool:
    """Whether to take a file for safetensors: by its name, or by its first bytes."""
    if path.suffix in (".onnx", ".pt", ".pth", ".pt2", ".ts", ".torchscript"):
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or head[8:] == b"{"


def _ours(model: str, path: Path, canvas: int | None, contract: str) -> ModelEntry:
    if contract:
        raise ModelError(f"--model-contract {contract}: {path} is a CV-UNet of ours, which needs no contract.")
    metadata = read_metadata(path)
    side = canvas or int(metadata["canvas"])
    if side < 64 or side % 64:
        raise ModelError(f"--canvas {side}: the canvas must be a multiple of 64, for example 320.")
    return ModelEntry("cvunet", model, metadata["size"], side, digest_of(path), path)


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
    if metadata.get("format") == OLD_FORMAT:
        raise ModelError(
            f"{path} was trained for the network of an earlier version: train it again, or use --model nano."
        )
    if metadata.get("format") != FORMAT or not {"size", "canvas"} <= metadata.keys():
        raise ModelError(
            f"{path} is a safetensors file, but not of the format {FORMAT}: it has weights alone, so give the network "
            "with them, as ONNX, TorchScript or a torch.export archive."
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
    return (
        f"There is no model {model!r}: give one of {', '.join(names)}, a name of rembg's ({', '.join(REMBG)}), or the "
        "path of a file (.safetensors, .onnx, .pt2 or TorchScript)."
    )
