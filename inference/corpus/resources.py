"""Read Qt resource files (.rcc): a tree of names, and a blob for each of its leaves.

The format is what Qt's `rcc` tool writes: a header with the offsets of three tables (tree, data, names), all numbers
big-endian. Its versions 1 to 3 are read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"qres"
COMPRESSED, DIRECTORY, ZSTANDARD = 1, 2, 4
"""Flags of a node."""


class ResourceError(ValueError):
    """The bytes are not a Qt resource file that this module can read."""


@dataclass(frozen=True)
class _Tables:
    content: bytes
    tree: int
    data: int
    names: int
    node: int
    """Length of a node in bytes."""


def read_resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file in a resource file, in the order of its tree.

    A file that is compressed with Zstandard is left out: pictures never are. Raises ResourceError.
    """
    if content[:4] != MAGIC or len(content) < 20:
        raise ResourceError("not a Qt resource file")
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    if not 1 <= version <= 3:
        raise ResourceError(f"Qt resource format {version} is not known")
    try:
        yield from _walk(_Tables(content, tree, data, names, 14 if version == 1 else 22), 0, "")
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ResourceError(f"the resource file is damaged: {error}") from error


def _walk(tables: _Tables, index: int, folder: str) -> Iterator[tuple[str, bytes]]:
    name, flags = struct.unpack_from(">IH", tables.content, tables.tree + index * tables.node)
    path = f"{folder}/{_name(tables, name)}" if index else ""
    if flags & DIRECTORY:
        count, first = struct.unpack_from(">II", tables.content, tables.tree + index * tables.node + 6)
        if first <= index < first + count or (first + count) * tables.node > len(tables.content):
            raise ResourceError("the resource file's tree has a loop or leaves the file")
        for child in range(first, first + count):
            yield from _walk(tables, child, path)
    elif not flags & ZSTANDARD:
        (offset,) = struct.unpack_from(">I", tables.content, tables.tree + index * tables.node + 10)
        yield path.lstrip("/"), _blob(tables, offset, bool(flags & COMPRESSED))


def _name(tables: _Tables, offset: int) -> str:
    (length,) = struct.unpack_from(">H", tables.content, tables.names + offset)
    start = tables.names + offset + 6  # after the length and a hash of four bytes
    return tables.content[start : start + 2 * length].decode("utf-16-be")


def _blob(tables: _Tables, offset: int, compressed: bool) -> bytes:
    (length,) = struct.unpack_from(">I", tables.content, tables.data + offset)
    start = tables.data + offset + 4
    content = tables.content[start : start + length]
    if len(content) < length:
        raise ResourceError("the resource file ends early")
    return zlib.decompress(content[4:]) if compressed else content
