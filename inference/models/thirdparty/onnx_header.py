"""The signature of an ONNX file, read without onnx or onnxruntime, so that the supervisor can name the contract.

ONNX is one protobuf message (ModelProto of onnx.proto, whose field numbers stand in the comments). Those fields that
are wanted are found by walking over the others: weights are skipped, not read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from inference.errors import ModelError
from inference.models.thirdparty.detection import ANY, Port, Signature

DTYPES: Mapping[int, str] = MappingProxyType(
    {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
)
"""TensorProto.DataType."""
RESHAPING = frozenset({"Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Resize", "Slice", "Transpose", "Clip"})
"""Operations that leave a matte a matte."""
EXTERNAL = 1
"""TensorProto.DataLocation."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types, https://protobuf.dev/programming-guides/encoding."""


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says of itself."""

    signature: Signature
    external: tuple[Path, ...]
    """Files beside it that hold its weights."""


@dataclass(frozen=True)
class _Message:
    """A message, or a text, between two places of the file."""

    data: mmap.mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | _Message]]:
        """Number and value of each field, in order. Raises ValueError where the message ends early."""
        at = self.start
        while at < self.end:
            key, at = self._varint(at)
            kind = key & 7
            if kind == VARINT:
                value, at = self._varint(at)
                yield key >> 3, value
                continue
            length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
            if kind == LENGTH:
                length, at = self._varint(at)
            elif not length:
                raise ValueError(f"no field is of type {kind}")
            if at + length > self.end:
                raise ValueError("it ends early")
            if kind == LENGTH:
                yield key >> 3, _Message(self.data, at, at + length)
            at += length

    def parts(self, number: int) -> list[_Message]:
        """All fields of this number that are messages or texts."""
        return [value for found, value in self.fields() if found == number and isinstance(value, _Message)]

    def numbers(self, number: int) -> list[int]:
        """All fields of this number that are numbers."""
        return [value for found, value in self.fields() if found == number and isinstance(value, int)]

    def text(self) -> str:
        """Raises ValueError."""
        return self.data[self.start : self.end].decode("utf-8")

    def word(self, number: int) -> str:
        """The first text of this number, or none."""
        return next((part.text() for part in self.parts(number)), "")

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < self.end and shift < 70:
            byte = self.data[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                return value, at
        raise ValueError("it ends early")


def read_onnx(path: Path) -> OnnxFile:
    """Raises ModelError where it is no whole ONNX file, or where a file with its weights is missing."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = _Message(data, 0, len(data)).parts(7)  # ModelProto.graph
            if not graphs:
                raise ValueError("it has no graph")
            return _read_graph(graphs[0], path)
    except ValueError as error:
        raise ModelError(f"{path} is no whole ONNX file ({error}): copy or export it again.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


def _read_graph(graph: _Message, path: Path) -> OnnxFile:
    fields = [(number, value) for number, value in graph.fields() if isinstance(value, _Message)]
    weights = [value for number, value in fields if number == 5]  # initializer
    names = {weight.word(8) for weight in weights}  # TensorProto.name
    inputs = [_port(value) for number, value in fields if number == 11]  # input
    outputs = [_port(value) for number, value in fields if number == 12]  # output
    nodes = [value for number, value in fields if number == 1]  # node
    signature = Signature(
        tuple(port for port in inputs if port.name not in names),  # old files list their weights there, too
        tuple(outputs),
        _last(nodes, outputs[0].name) if outputs else "",
        frozenset(node.word(4) for node in nodes),  # NodeProto.op_type
    )
    return OnnxFile(signature, tuple(_external(weights, path)))


def _port(value_info: _Message) -> Port:
    """ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor_type; its 1 elem_type, 2 shape; TensorShapeProto: 1 dim."""
    tensors = [tensor for kind in value_info.parts(2) for tensor in kind.parts(1)]
    dtype = next((DTYPES.get(number, f"type {number}") for tensor in tensors for number in tensor.numbers(1)), "")
    shapes = [shape for tensor in tensors for shape in tensor.parts(2)]
    dims = tuple(_side(dim) for dim in shapes[0].parts(1)) if shapes else None
    return Port(value_info.word(1), dims, dtype)


def _side(dimension: _Message) -> int:
    """Dimension: 1 dim_value, 2 dim_param."""
    return next(iter(dimension.numbers(1)), ANY)


def _last(nodes: list[_Message], output: str) -> str:
    """What the output comes from. NodeProto: 1 input, 2 output, 4 op_type."""
    for node in reversed(nodes):  # which are sorted, so that what comes before is found before
        if output in {name.text() for name in node.parts(2)}:
            operation = node.word(4)
            if operation not in RESHAPING:
                return operation
            output = node.word(1)
    return ""


def _external(weights: list[_Message], path: Path) -> Iterator[Path]:
    """TensorProto: 13 external_data (StringStringEntryProto: 1 key, 2 value), 14 data_location. Raises ModelError."""
    for name in sorted({_location(weight) for weight in weights if EXTERNAL in weight.numbers(14)}):
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(f"{path} has weights in {name!r}, outside of its folder: export it again, in one folder.")
        if not (path.parent / name).is_file():
            raise ModelError(f"{path} has its weights in {name}, which is missing: put it into the same folder.")
        yield path.parent / name


def _location(weight: _Message) -> str:
    return next((entry.word(2) for entry in weight.parts(13) if entry.word(1) == "location"), "")
