"""Files of other people's models: what they are and which contract they keep. Imports neither torch nor onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry, digest_of
from inference.models.thirdparty import torch_archives as archives
from inference.models.thirdparty.contracts import CONTRACTS, Contract
from inference.models.thirdparty.detection import Port, Signature, candidates, detect, picture_input, require
from inference.models.thirdparty.onnx_header import read_onnx

UNKNOWN = Signature((Port("input", None),), ())
"""Of TorchScript, which does not say what it takes."""


def resolve_foreign(model: str, path: Path, canvas: int | None, contract: str) -> ModelEntry:
    """The entry of a file. Raises ModelError where it is none that can be used, or its contract is not known."""
    if contract and contract not in CONTRACTS:
        raise ModelError(f"There is no contract {contract!r}: give one of {', '.join(CONTRACTS)}.")
    kind, signature, others = _look(path)
    picture_input(signature, str(path))
    chosen = CONTRACTS[contract or detect(signature) or _ask(path, signature)]
    fixed = require(chosen, signature, str(path))
    side = _side(chosen, fixed, canvas, path)
    return ModelEntry(kind, model, chosen.name, side, _digest(path, others), path, chosen.name, fixed)


def _look(path: Path) -> tuple[str, Signature, Sequence[Path]]:
    """What kind of file it is, what it takes and gives, and which files belong to it."""
    kind = archives.kind_of(path)
    if kind == "pickle":
        raise ModelError(
            f"{path} is a pickle, as torch.save writes it, which may hold any program: it is not loaded. Export the "
            "model as ONNX (torch.onnx.export), as a torch.export archive or as TorchScript."
        )
    if kind == "torchscript":
        return kind, UNKNOWN, ()
    if kind == "exported":
        return kind, archives.exported_signature(path), ()
    if path.suffix != ".onnx" and not _is_protobuf(path):
        raise ModelError(f"{path} is no model: give a file of safetensors, ONNX, torch.export or TorchScript.")
    onnx = read_onnx(path)
    return "onnx", onnx.signature, onnx.external


def _is_protobuf(path: Path) -> bool:
    """Whether it starts as ONNX files do: with ModelProto's first field, the version of its format."""
    with path.open("rb") as file:
        return file.read(1) == b"\x08"


def _ask(path: Path, signature: Signature) -> str:
    possible = candidates(signature) or list(CONTRACTS)
    raise ModelError(
        f"{path} does not say for certain how it is to be fed: choose with --model-contract, one of "
        f"{', '.join(possible)} (docs/models.md tells what they mean)."
    )


def _side(contract: Contract, fixed: tuple[int, int, int], canvas: int | None, path: Path) -> int:
    """The canvas's side; of a canvas that is fixed, the longer one. Raises ModelError for one that is not to be had."""
    longer = max(fixed[1:])
    if canvas and (longer or contract.fit == "native"):
        takes = f"takes {fixed[1]} x {fixed[2]} pixels alone" if longer else "takes a picture's own size"
        raise ModelError(f"--canvas {canvas}: {path} {takes}, so leave it out.")
    return canvas or longer or contract.side


def _digest(path: Path, others: Sequence[Path]) -> str:
    """sha256 of the file, or over the digests of it and of all that belong to it."""
    digests = [digest_of(file) for file in (path, *others)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
