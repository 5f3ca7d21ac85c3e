"""What a model's file says of itself, and which contracts that allows. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from inference.errors import ModelError
from inference.models.thirdparty.contracts import CONTRACTS, Contract

ANY = 0
"""A side that may be of any length."""
FLOATS = ("float32", "float16", "")
"""What an input may be of; empty where the file does not say."""

SIDE_OUTPUTS = 7
"""U2-Net gives its matte first, then those of its six stages."""

ONE_OUTPUT = ("rmbg", "modnet")

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
"""Height and width that files of a family insist on, if on any."""


@dataclass(frozen=True)
class Port:
    """An input or an output. `dims` is None where the file does not say."""

    name: str
    dims: Dims | None
    dtype: str = ""


@dataclass(frozen=True)
class Signature:
    """What goes in and out of a graph, and some of what is in between."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    last: str = ""
    """The operation that makes the first output, shape-changing ones left aside; empty where that is not known."""
    operations: frozenset[str] = field(default_factory=frozenset)


def picture_input(signature: Signature, where: str) -> Port:
    """The one input. Raises ModelError where it is no picture."""
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
    """The contract, where the file leaves no doubt: what many models have in common proves nothing."""
    [port], outputs = signature.inputs, signature.outputs
    if port.dims is None or not outputs:
        return None
    possible = candidates(signature)
    sides, several = port.dims[2:], len(outputs) > 1
    proof = {
        "u2net": len(outputs) == SIDE_OUTPUTS,
        "isnet": several and all(sides),
        "birefnet": all(sides),
        "rmbg": _named_as_rmbg(signature),
    }
    [name] = possible if len(possible) == 1 else [None]
    return name if name and proof.get(name, True) else None


def candidates(signature: Signature) -> list[str]:
    """The contracts that such a file may have been made for."""
    return [name for name, contract in CONTRACTS.items() if _may_be(contract, signature)]


def require(contract: Contract, signature: Signature, where: str) -> tuple[int, int, int]:
    """Batch, height and width that the file insists on, 0 where any will do. Raises ModelError where it cannot be."""
    port = picture_input(signature, where)
    if port.dims is None:
        return (ANY, ANY, ANY)
    if contract.channels_last != _channels_last(port.dims):
        takes = "H x W x 3" if contract.channels_last else "B x 3 x H x W"
        raise ModelError(f"{where} takes {_shown(port.dims)}, but the contract {contract.name} means {takes}.")
    first = signature.outputs[0].dims if signature.outputs else None
    if first is not None and not _matte_like(contract, first):
        raise ModelError(
            f"{where} gives {_shown(first)} in {signature.outputs[0].name!r}: that is no matte of the contract "
            f"{contract.name}."
        )
    if contract.channels_last:
        if any(port.dims[-3:-1]):
            raise ModelError(
                f"{where} takes {_shown(port.dims)} alone: the contract {contract.name} means any size, so export it "
                "with height and width left open."
            )
        return (1, ANY, ANY)
    return port.dims[0], port.dims[2], port.dims[3]


def _may_be(contract: Contract, signature: Signature) -> bool:
    [port], outputs = signature.inputs, signature.outputs
    if port.dims is None or not outputs:
        return True
    if contract.channels_last or _channels_last(port.dims):
        return contract.channels_last and _channels_last(port.dims)
    if _named_as_rmbg(signature):
        return contract.name == "rmbg"
    sigmoid_inside = signature.last == "Sigmoid"
    if signature.last and contract.logits == sigmoid_inside:
        return False
    if len(outputs) > 1 and contract.name in ONE_OUTPUT:
        return False
    instance = "InstanceNormalization" in signature.operations  # MODNet alone has it
    if instance != (contract.name == "modnet") and signature.operations:
        return False
    return not any(port.dims[2:]) or port.dims[2:] in SIDES[contract.name]


def _named_as_rmbg(signature: Signature) -> bool:
    return (signature.inputs[0].name, signature.outputs[0].name) == ("pixel_values", "alphas")


def _channels_first(dims: Dims) -> bool:
    return len(dims) == 4 and dims[1] == 3


def _channels_last(dims: Dims) -> bool:
    return len(dims) in (3, 4) and dims[-1] == 3 and not _channels_first(dims)


def _matte_like(contract: Contract, dims: Dims) -> bool:
    """Whether an output of these dimensions may hold the matte."""
    if contract.channels_last:
        return len(dims) in (3, 4) and dims[-1] in (ANY, 4)
    return (len(dims) == 4 and dims[1] in (ANY, 1)) or len(dims) == 3


def _shown(dims: Dims) -> str:
    return " x ".join(_words(dims))


def _words(dims: Dims) -> Iterator[str]:
    for dim in dims:
        yield str(dim) if dim else "any"
