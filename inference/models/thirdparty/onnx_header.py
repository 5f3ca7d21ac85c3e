"""A reader for the signature of an ONNX file that needs neither onnx nor onnxruntime, for the supervisor.

An ONNX file is one protobuf message, ModelProto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), whose field
numbers stand in comments here. The reader walks over the fields that it does not need: weights are skipped, not read.
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
"""Operations that change a matte's shape, size or type and leave it a matte."""
EXTERNAL = 1
"""TensorProto.DataLocation: the weights are in another file."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types, https://protobuf.dev/programming-guides/encoding."""


@dataclass(frozen=True)
class OnnxFile:
    """The part of an ONNX file that identifies its family, and where its weights are."""

    signature: Signature
    external: tuple[Path, ...]
    """Other files in its folder that hold weights."""


@dataclass(frozen=True)
class Message:
    """A protobuf message or string between two offsets of the file."""

    data: mmap.mmap | bytes
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, int | Message]]:
        """Yield number and value of each field, in order. Raises ValueError if the message is truncated."""
        for number, value, _, _ in self.spans():
            if value is not None:
                yield number, value

    def spans(self) -> Iterator[tuple[int, int | Message | None, int, int]]:
        """Yield number, value, start and end of each field, with None for values that no caller needs."""
        at = self.start
        while at < self.end:
            begin = at
            key, at = self._varint(at)
            kind = key & 7
            if kind == VARINT:
                value, at = self._varint(at)
                yield key >> 3, value, begin, at
                continue
            length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
            if kind == LENGTH:
                length, at = self._varint(at)
            elif not length:
                raise ValueError(f"unknown wire type {kind}")
            if at + length > self.end:
                raise ValueError("the file ends early")
            at += length
            yield key >> 3, Message(self.data, at - length, at) if kind == LENGTH else None, begin, at

    def messages(self, number: int) -> list[Message]:
        """Return all fields of this number that are messages or strings."""
        return [value for found, value in self.fields() if found == number and isinstance(value, Message)]

    def integers(self, number: int) -> list[int]:
        """Return all fields of this number that are integers."""
        return [value for found, value in self.fields() if found == number and isinstance(value, int)]

    def text(self) -> str:
        """Decode this string. Raises ValueError for invalid UTF-8."""
        return self.data[self.start : self.end].decode("utf-8")

    def first_text(self, number: int) -> str:
        """Return the first string field of this number; empty if there is none."""
        return next((part.text() for part in self.messages(number)), "")

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < self.end and shift < 70:
            byte = self.data[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                return value, at
        raise ValueError("the file ends early")


def read_onnx(path: Path) -> OnnxFile:
    """Read signature and external weight files. Raises ModelError for a damaged file or missing weights."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graphs = Message(data, 0, len(data)).messages(7)  # ModelProto.graph
            if not graphs:
                raise ValueError("no graph")
            return _read_graph(graphs[0], path)
    except ValueError as error:
        raise ModelError(f"{path} is not a complete ONNX file ({error}): copy or export it again.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


def _read_graph(graph: Message, path: Path) -> OnnxFile:
    fields = [(number, value) for number, value in graph.fields() if isinstance(value, Message)]
    weights = [value for number, value in fields if number == 5]  # initializer
    names = {weight.first_text(8) for weight in weights}  # TensorProto.name
    inputs = [_port(value) for number, value in fields if number == 11]  # input
    outputs = [_port(value) for number, value in fields if number == 12]  # output
    nodes = [value for number, value in fields if number == 1]  # node
    signature = Signature(
        tuple(port for port in inputs if port.name not in names),  # IR version 3 lists weights there, too
        tuple(outputs),
        _last_operation(nodes, outputs[0].name) if outputs else "",
        frozenset(node.first_text(4) for node in nodes),  # NodeProto.op_type
    )
    return OnnxFile(signature, tuple(_external(weights, path)))


def _port(value_info: Message) -> Port:
    """Read an input or output.

    ValueInfoProto: 1 name, 2 type; TypeProto: 1 tensor_type; its 1 elem_type, 2 shape; TensorShapeProto: 1 dim.
    """
    tensors = [tensor for kind in value_info.messages(2) for tensor in kind.messages(1)]
    dtype = next((DTYPES.get(number, f"type {number}") for tensor in tensors for number in tensor.integers(1)), "")
    shapes = [shape for tensor in tensors for shape in tensor.messages(2)]
    dims = tuple(_side(dim) for dim in shapes[0].messages(1)) if shapes else None
    return Port(value_info.first_text(1), dims, dtype)


def _side(dimension: Message) -> int:
    """Read one dimension. Dimension: 1 dim_value, 2 dim_param."""
    return next(iter(dimension.integers(1)), ANY)


def _last_operation(nodes: list[Message], output: str) -> str:
    """Find the operation that computes an output. NodeProto: 1 input, 2 output, 4 op_type."""
    for node in reversed(nodes):  # ONNX demands topological order
        if output in {name.text() for name in node.messages(2)}:
            operation = node.first_text(4)
            if operation not in RESHAPING:
                return operation
            output = node.first_text(1)
    return ""


def _external(weights: list[Message], path: Path) -> Iterator[Path]:
    """Yield the external weight files. Raises ModelError for one that is missing or in another folder.

    TensorProto: 13 external_data (StringStringEntryProto: 1 key, 2 value), 14 data_location.
    """
    for name in sorted({_location(weight) for weight in weights if EXTERNAL in weight.integers(14)}):
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ModelError(f"{path} has weights in {name!r}, outside of its folder: export it again into one folder.")
        if not (path.parent / name).is_file():
            raise ModelError(f"{path} has weights in {name}, which is missing: put it into the same folder.")
        yield path.parent / name


def _location(weight: Message) -> str:
    return next((entry.first_text(2) for entry in weight.messages(13) if entry.first_text(1) == "location"), "")
