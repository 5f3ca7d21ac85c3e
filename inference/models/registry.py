"""The model registry: resolves names and paths to entries. Imports no torch, so that supervisors compute job ids."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry, digest_of
from inference.models.thirdparty.contracts import CONTRACTS
from inference.models.thirdparty.known import KNOWN, KnownModel

FORMAT = "alphadrop.cvunet/2"
"""What a weights file of ours says in its safetensors metadata, with `size` and `canvas`."""
OLD_FORMAT = "alphadrop.cvunet/1"
"""What it said while nano's encoder was another one."""

PIPELINE = 4
"""Incremented whenever the same weights would give different outputs; part of every job's id."""

DEFAULT_FOLDER = Path("~/.u2net")
"""Where rembg keeps its models, unless variables say otherwise."""
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


def resolve(
    model: str,
    canvas: int | None = None,
    contract: str = "",
    folder: Path | None = None,
    *,
    need_file: bool = True,
) -> ModelEntry:
    """Make the entry of a model: a size's name, a file's path, the name of a known model, or `fake[:options]`.

    `canvas` overrides the canvas's longer side in pixels. `contract` is the preprocessing contract of a third-party
    model, where its file does not determine it. `folder` is where known models are kept, by default ~/.u2net, as rembg
    has it. Without `need_file`, the file of a known model may be elsewhere: its digest is known, and enough to compute
    job ids. Raises ModelError, whose message says what to do.
    """
    if model == "fake" or model.startswith("fake:"):
        return ModelEntry("fake", model, "fake", canvas or 128, hashlib.sha256(model.encode()).hexdigest(), None)
    names = [size.name for size in CATALOGUE]
    path = shipped_path(model) if model in names else Path(model).expanduser()
    if model in KNOWN and not path.is_file():
        known = KNOWN[model]
        path, contract = known.path_in(folder or DEFAULT_FOLDER.expanduser()), contract or known.contract
        if not path.is_file():
            if need_file:
                raise ModelError(_not_fetched(known, path))
            return _without_file(known, path, canvas, contract)
    if not path.is_file():
        raise ModelError(_missing(model, names))
    if is_ours(path):
        return _ours(model, path, canvas, contract)
    from inference.models.thirdparty.inspection import resolve_third_party

    return resolve_third_party(model, path, canvas, contract)


def verify(entry: ModelEntry) -> None:
    """Raise ModelError if the file has changed since the entry was made."""
    if entry.path is not None and resolve(str(entry.path), contract=entry.contract).digest != entry.digest:
        raise ModelError(f"{entry.path} has changed since alphadrop was started: restart alphadrop.")


def _not_fetched(known: KnownModel, path: Path) -> str:
    return (
        f"{path} does not exist: fetch it with `alphadrop models pull {known.name}` ({known.megabytes}, licence "
        f"{known.licence.name}), or use the path of a file."
    )


def _without_file(known: KnownModel, path: Path, canvas: int | None, contract: str) -> ModelEntry:
    """The entry of a known model whose file is on the machines that run it, but not on this one.

    It equals the entry that they make: rembg gives these files pictures of the contract's size and no other.
    """
    if contract != known.contract:
        raise ModelError(f"--model-contract {contract}: {known.name} has the contract {known.contract}.")
    if canvas:
        raise ModelError(
            f"--canvas {canvas}: whether {known.name} takes another size is only known from its file, {path}, which is "
            f"not here. Omit --canvas, or fetch the file with `alphadrop models pull {known.name}`."
        )
    return ModelEntry("onnx", known.name, contract, CONTRACTS[contract].side, known.sha256, path, contract)


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
        f"There is no model {model!r}: use {', '.join(names)}, one of the known models ({', '.join(KNOWN)}), or the "
        "path of a file (.safetensors, .onnx, .pt2 or TorchScript)."
    )
