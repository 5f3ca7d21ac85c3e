"""Detection of a model's preprocessing contract from its inputs, outputs and operations. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inference.errors import ModelError
from inference.models.thirdparty.contracts import CONTRACTS, Contract

ANY = 0
"""A dimension that the file leaves open."""
FLOATS = ("float32", "float16", "")
"""Supported input types; empty where the file does not say."""

U2NET_OUTPUTS = 7
"""U2-Net returns its matte first, then those of its six stages."""

SINGLE_OUTPUT = ("rmbg", "modnet")
"""Contracts whose models have one output."""

Dims = tuple[int, ...]

SIDES: Mapping[str, tuple[Dims, ...]] = MappingProxyType(
    {
        "u2net": ((320, 320),),
        "isnet": ((1024, 1024),),
        "birefnet": ((1024, 1024), (2048, 2048)),
        "rmbg": ((1024, 1024),),
        "modnet": ((512, 512),),
    }
)
"""Height and width that files of a family fix, if they fix any."""


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph. `dims` is None where the file does not say."""

    name: str
    dims: Dims | None
    dtype: str = ""


@dataclass(frozen=True)
class Signature:
    """A graph's inputs and outputs, and what is known of its operations."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    last: str = ""
    """The operation that computes the first output, apart from those that only reshape; empty where unknown."""
    operations: frozenset[str] = field(default_factory=frozenset)


def picture_input(signature: Signature, where: str) -> Port:
    """Return the only input. Raises ModelError, naming the file `where`, if it cannot be a picture."""
    if len(signature.inputs) != 1:
        names = ", ".join(port.name for port in signature.inputs) or "none"
        raise ModelError(f"{where} has {len(signature.inputs)} inputs ({names}): a matting model takes one picture.")
    [port] = signature.inputs
    if port.dtype not in FLOATS:
        raise ModelError(f"{where} takes {port.dtype} in {port.name!r}: export it with a 32 or 16 bit float input.")
    if port.dims is not None and not (_channels_first(port.dims) or _channels_last(port.dims)):
        raise ModelError(
            f"{where} takes {_shown(port.dims)} in {port.name!r}: a matting model takes B x 3 x H x W, or H x W x 3."
        )
    return port


def detect(signature: Signature) -> str | None:
    """Return the contract's name if the file leaves no doubt, else None: what many families share proves nothing."""
    [port], outputs = signature.inputs, signature.outputs
    if port.dims is None or not outputs:
        return None
    possible = candidates(signature)
    sides, several = port.dims[2:], len(outputs) > 1
    proof = {
        "u2net": len(outputs) == U2NET_OUTPUTS,
        "isnet": several and all(sides),
        "birefnet": all(sides),
        "rmbg": _has_rmbg_names(signature),
    }
    [name] = possible if len(possible) == 1 else [None]
    return name if name and proof.get(name, True) else None


def candidates(signature: Signature) -> list[str]:
    """List the contracts for which such a file may have been exported."""
    return [name for name, contract in CONTRACTS.items() if _is_possible(contract, signature)]


def fixed_shape(contract: Contract, signature: Signature, where: str) -> tuple[int, int, int]:
    """Return the batch size, height and width that the file fixes, 0 where it fixes none.

    Raises ModelError, naming the file `where`, if its inputs and outputs contradict the contract.
    """
    port = picture_input(signature, where)
    if port.dims is None:
        return (ANY, ANY, ANY)
    if contract.channels_last != _channels_last(port.dims):
        takes = "H x W x 3" if contract.channels_last else "B x 3 x H x W"
        raise ModelError(f"{where} takes {_shown(port.dims)}, but the contract {contract.name} expects {takes}.")
    first = signature.outputs[0].dims if signature.outputs else None
    if first is not None and not _is_matte(contract, first):
        raise ModelError(
            f"{where} returns {_shown(first)} in {signature.outputs[0].name!r}, which is not a matte of the contract "
            f"{contract.name}."
        )
    if contract.channels_last:
        if any(port.dims[-3:-1]):
            raise ModelError(
                f"{where} takes only {_shown(port.dims)}, but the contract {contract.name} expects any size: export it "
                "with height and width left open."
            )
        return (1, ANY, ANY)
    return port.dims[0], port.dims[2], port.dims[3]


def _is_possible(contract: Contract, signature: Signature) -> bool:
    [port], outputs = signature.inputs, signature.outputs
    if port.dims is None or not outputs:
        return True
    if contract.channels_last or _channels_last(port.dims):
        return contract.channels_last and _channels_last(port.dims)
    if _has_rmbg_names(signature):
        return contract.name == "rmbg"
    ends_in_sigmoid = signature.last == "Sigmoid"
    if signature.last and contract.logits == ends_in_sigmoid:
        return False
    if len(outputs) > 1 and contract.name in SINGLE_OUTPUT:
        return False
    instance_norm = "InstanceNormalization" in signature.operations  # only MODNet uses it
    if instance_norm != (contract.name == "modnet") and signature.operations:
        return False
    return not any(port.dims[2:]) or port.dims[2:] in SIDES[contract.name]


def _has_rmbg_names(signature: Signature) -> bool:
    return (signature.inputs[0].name, signature.outputs[0].name) == ("pixel_values", "alphas")


def _channels_first(dims: Dims) -> bool:
    return len(dims) == 4 and dims[1] == 3


def _channels_last(dims: Dims) -> bool:
    return len(dims) in (3, 4) and dims[-1] == 3 and not _channels_first(dims)


def _is_matte(contract: Contract, dims: Dims) -> bool:
    """Whether an output of these dimensions can hold the matte."""
    if contract.channels_last:
        return len(dims) in (3, 4) and dims[-1] in (ANY, 4)
    return (len(dims) == 4 and dims[1] in (ANY, 1)) or len(dims) == 3


def _shown(dims: Dims) -> str:
    return " x ".join(str(dim) if dim else "any" for dim in dims)
