"""Opens the batch dimension of an ONNX file that was exported for one fixed batch size.

Exporters fix the batch size of a graph whose operations would take any, unless an option says otherwise. `open_batch`
makes a copy of the file in memory whose input and outputs leave it open. Whether the graph's own constants allow that
cannot be read from the file: the caller must compare a batch with single pictures.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

from inference.models.thirdparty.onnx_header import Message

LARGEST = 1 << 29
"""Bytes of a file that is copied, at most."""
_ANY = b"\x12\x05batch"
"""TensorShapeProto.Dimension with dim_param, its field 2, set to `batch`."""
Replace = Callable[[int, Message, int], bytes | None]
"""Takes a field's number, its value and its position among the fields of that number; None keeps it."""


def open_batch(path: Path, port: str) -> bytes | None:
    """Copy an ONNX file with an open batch size of the input `port` and all outputs.

    Returns None for a file that is too large to copy. Raises ValueError or OSError for one that cannot be read.
    """
    if path.stat().st_size > LARGEST:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _edited(
            Message(data, 0, len(data)),  # ModelProto: 7 graph
            lambda number, value, _: _graph(value, port) if number == 7 else None,
        )


def _graph(graph: Message, port: str) -> bytes:
    """GraphProto: 11 input, 12 output, 13 value_info, whose shapes of inner values would contradict the new ones."""

    def replaced(number: int, value: Message, _: int) -> bytes | None:
        if number == 12 or (number == 11 and value.first_text(1) == port):
            return _value_info(value)
        return None

    return b"".join(_pieces(graph, replaced, leave_out=13))


def _value_info(value: Message) -> bytes:
    """ValueInfoProto: 2 type; TypeProto: 1 tensor_type; its 2 shape; TensorShapeProto: 1 dim."""

    def nested(wanted: int, inner: Callable[[Message], bytes]) -> Callable[[Message], bytes]:
        return lambda message: _edited(message, lambda number, part, _: inner(part) if number == wanted else None)

    def shape(message: Message) -> bytes:
        return _edited(message, lambda number, _, position: _ANY if (number, position) == (1, 0) else None)

    return nested(2, nested(1, nested(2, shape)))(value)


def _edited(message: Message, replace: Replace) -> bytes:
    return b"".join(_pieces(message, replace))


def _pieces(message: Message, replace: Replace, leave_out: int = 0) -> Iterator[bytes]:
    """Yield each field as it is written, or its replacement."""
    seen: dict[int, int] = {}
    for number, value, start, end in message.spans():
        position = seen[number] = seen.get(number, -1) + 1
        new = replace(number, value, position) if isinstance(value, Message) else None
        if number == leave_out:
            continue
        yield message.data[start:end] if new is None else _varint(number << 3 | 2) + _varint(len(new)) + new


def _varint(value: int) -> bytes:
    """Encode a number as protobuf does: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
