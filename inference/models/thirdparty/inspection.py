"""Inspection of third-party model files: format, preprocessing contract, digest. Without torch or onnxruntime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelError
from inference.models.entry import ModelEntry, ModelKind, digest_of
from inference.models.thirdparty import torch_archives
from inference.models.thirdparty.contracts import CONTRACTS, Contract
from inference.models.thirdparty.detection import Port, Signature, candidates, detect, fixed_shape, picture_input
from inference.models.thirdparty.onnx_header import read_onnx

UNKNOWN = Signature((Port("input", None),), ())
"""The signature of TorchScript, which does not describe its input."""


@dataclass(frozen=True)
class _Inspected:
    kind: ModelKind
    signature: Signature
    external: Sequence[Path] = ()
    """Files beside it that hold its weights."""


def resolve_third_party(model: str, path: Path, canvas: int | None, contract: str) -> ModelEntry:
    """Make the entry of a third-party model file.

    `model` is what `--model` was given, `canvas` and `contract` are the settings, if any. Raises ModelError for a file
    that cannot be used, or whose contract neither `contract` nor the file itself determines.
    """
    if contract and contract not in CONTRACTS:
        raise ModelError(f"There is no contract {contract!r}: use one of {', '.join(CONTRACTS)}.")
    file = _inspect(path)
    picture_input(file.signature, str(path))
    name = contract or detect(file.signature)
    if not name:
        raise _undetected(path, file.signature)
    chosen = CONTRACTS[name]
    fixed = fixed_shape(chosen, file.signature, str(path))
    side = _side(chosen, fixed, canvas, path)
    return ModelEntry(file.kind, model, name, side, _digest(path, file.external), path, name, fixed)


def _inspect(path: Path) -> _Inspected:
    """Determine the format from the file's content, and read its signature. Raises ModelError."""
    archive = torch_archives.archive_kind(path)
    if archive == "pickle":
        raise ModelError(
            f"{path} is a pickle, as torch.save writes it, which can contain any program: it is not loaded. Export the "
            "model as ONNX (torch.onnx.export), as a torch.export archive or as TorchScript."
        )
    if archive == "torchscript":
        return _Inspected(archive, UNKNOWN)
    if archive == "exported":
        return _Inspected(archive, torch_archives.exported_signature(path))
    if path.suffix != ".onnx" and not _is_protobuf(path):
        raise ModelError(f"{path} is not a model: use a safetensors, ONNX, torch.export or TorchScript file.")
    onnx = read_onnx(path)
    return _Inspected("onnx", onnx.signature, onnx.external)


def _is_protobuf(path: Path) -> bool:
    """Whether a file begins as ONNX files do: with ModelProto's first field, the format version."""
    with path.open("rb") as file:
        return file.read(1) == b"\x08"


def _undetected(path: Path, signature: Signature) -> ModelError:
    possible = candidates(signature) or list(CONTRACTS)
    return ModelError(
        f"The preprocessing contract of {path} cannot be detected: choose it with --model-contract, one of "
        f"{', '.join(possible)} (see docs/models.md)."
    )


def _side(contract: Contract, fixed: tuple[int, int, int], canvas: int | None, path: Path) -> int:
    """Return the canvas's side, the longer one if the file fixes both. Raises ModelError for an impossible `canvas`."""
    longer = max(fixed[1:])
    if canvas and (longer or contract.fit == "native"):
        takes = f"takes only {fixed[1]} x {fixed[2]} pixels" if longer else "takes each picture at its own size"
        raise ModelError(f"--canvas {canvas}: {path} {takes}, so omit --canvas.")
    return canvas or longer or contract.side


def _digest(path: Path, external: Sequence[Path]) -> str:
    """SHA-256 of the file or, where it has external weights, of the concatenated hex digests of all its files."""
    digests = [digest_of(file) for file in (path, *external)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
