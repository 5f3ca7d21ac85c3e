"""Where an output says what it is and how it was made: as text in the file, and as metadata of an S3 object."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote

from inference.codec import HEAD_BYTES
from inference.codec import read_text as read_png_text
from inference.codec.png import END, SIGNATURE
from inference.compose import TEXT_BYTES, read_text
from watcher.core.jobs import Facts, Output
from watcher.stores.base import OutputInfo

KEYWORD = "alphadrop:"
"""What the keyword of each text in a file begins with."""
_JOB, _OUTPUT, _SOURCE, _ROOT = "job", "output", "source", "root"
_MAX_SOURCE = HEAD_BYTES // 2
"""Longest key, in bytes, that is written into a file unchanged."""

# Hyphens, because some proxies drop headers with underscores in their names.
_HEADER = "alphadrop-"
_OBJECT_JOB = "alphadrop-job"
_OBJECT_OUTPUT = "alphadrop-output"
_OBJECT_SOURCE = "alphadrop-source"
_OBJECT_VERSION = "alphadrop-version"
_OBJECT_ROOT = "alphadrop-root"
_OBJECT_MAX_SOURCE = 1600
"""Longest percent-encoded key, in bytes, in an object's metadata."""
_OBJECT_MAX_BYTES = 2048
"""Longest metadata of an object, names included, that S3 allows."""


def recorded_source(key: str) -> str:
    """A source key as outputs record it: unchanged, or its start and a digest where a PNG's head has no room for it."""
    raw = key.encode()
    if len(raw) <= _MAX_SOURCE:
        return key
    return raw[: _MAX_SOURCE - 70].decode(errors="ignore") + "#" + hashlib.sha256(raw).hexdigest()


def output_text(output: Output, facts: Facts | None = None) -> dict[str, str]:
    """The text to write into an output's file, by keyword."""
    # An output that is all of its job records one id, as every output did before a job could have several.
    ids = {_JOB: output.job, _OUTPUT: output.id} if output.job else {_JOB: output.id}
    root = {_ROOT: output.root} if output.root else {}
    texts = ids | {_SOURCE: recorded_source(output.ref.key)} | root | (facts.texts if facts else {})
    return {KEYWORD + name: value for name, value in texts.items()}


def read_output_text(text: Mapping[str, str]) -> OutputInfo:
    """Read which output a file is from its text; OutputInfo(None, None) if alphadrop did not write it."""
    id_ = text.get(KEYWORD + _OUTPUT) or text.get(KEYWORD + _JOB)
    return OutputInfo(id_, text.get(KEYWORD + _SOURCE), root=text.get(KEYWORD + _ROOT, ""))


def read_box(text: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    """Where the object is by a file's text, as in `Facts.box`; None if it is empty or the file does not say.

    >>> read_box({"alphadrop:box": "1,2,30,40"})
    (1, 2, 30, 40)
    """
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.get(KEYWORD + "box", ""))
    if match is None:
        return None
    left, top, right, bottom = map(int, match.groups())
    return left, top, right, bottom


def read_output_info(read: Callable[[int, int], bytes], size: int) -> OutputInfo | None:
    """Read which output a file of `size` bytes is; `read(offset, length)` returns a part of it.

    None if the file is empty or incomplete; OutputInfo(None, None) if alphadrop did not write it.
    """
    head = read(0, min(HEAD_BYTES, size)) if size else b""
    if SIGNATURE.startswith(head[: len(SIGNATURE)]):
        return read_output_text(read_png_text(head)) if _ends_with(read, size, END) else None
    if not _is_complete(head, read, size):
        return None
    return read_output_text(_text_of(read, size))


def read_source_key(read: Callable[[int, int], bytes], size: int) -> str | None:
    """The source key that a file records, even if it is incomplete; None if it records none."""
    return read_output_text(_text_of(read, size)).source_key


def read_texts(read: Callable[[int, int], bytes], size: int) -> dict[str, str]:
    """Everything that a file of `size` bytes records, by name; `read(offset, length)` returns a part of it."""
    text = _text_of(read, size)
    return {name.removeprefix(KEYWORD): value for name, value in text.items() if name.startswith(KEYWORD)}


def _text_of(read: Callable[[int, int], bytes], size: int) -> dict[str, str]:
    """The text of a file of any format, from its ends."""
    head = read(0, min(TEXT_BYTES, size)) if size else b""
    start = max(len(head), size - TEXT_BYTES)
    return read_text(head + (read(start, size - start) if start < size else b""))


def _is_complete(head: bytes, read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether a file has its end, as far as its format says; a copy may have been broken off."""
    if head.startswith(b"\xff\xd8\xff"):
        return _ends_with(read, size, b"\xff\xd9")
    if head.startswith(b"RIFF"):
        return size >= 8 + int.from_bytes(head[4:8], "little")
    return True


def _ends_with(read: Callable[[int, int], bytes], size: int, end: bytes) -> bool:
    return size >= len(end) and read(size - len(end), len(end)) == end


def content_type(key: str) -> str:
    """The media type of an output by the ending of its key.

    >>> content_type("shop/a.JPG")
    'image/jpeg'
    """
    ending = key.rpartition(".")[2].lower()
    return "image/" + {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)


def object_metadata(output: Output, facts: Facts | None = None) -> dict[str, str]:
    """The metadata of an output's object, in ASCII. What is too long for it is left out: the file has it, too."""
    wanted = {
        _OBJECT_JOB: output.job or output.id,
        **({_OBJECT_OUTPUT: output.id} if output.job else {}),
        _OBJECT_SOURCE: quote(recorded_source(output.ref.key)),
        **({_OBJECT_ROOT: output.root} if output.root else {}),
        _OBJECT_VERSION: quote(output.ref.version),
        **{
            _HEADER + name.replace("_", "-"): quote(value, safe=_PLAIN_CHARACTERS)
            for name, value in (facts.texts if facts else {}).items()
        },
    }
    if len(wanted[_OBJECT_SOURCE]) > _OBJECT_MAX_SOURCE:
        del wanted[_OBJECT_SOURCE]
    metadata: dict[str, str] = {}
    for name, value in wanted.items():
        if sum(map(len, (*metadata, *metadata.values(), name, value))) <= _OBJECT_MAX_BYTES:
            metadata[name] = value
    return metadata


_PLAIN_CHARACTERS = "/ !\"#$&'()*+,:;<=>?@[]^`{|}"
"""What stays as it is, besides letters and digits, so that people can read it. `%` alone must be encoded."""


def read_object_metadata(metadata: Mapping[str, str], version: str) -> OutputInfo | None:
    """Read which output an object is from its metadata; None if id or source is missing there."""
    values = {name.lower(): value for name, value in metadata.items()}
    if _OBJECT_JOB not in values or _OBJECT_SOURCE not in values:
        return None
    id_, source_key = values.get(_OBJECT_OUTPUT) or values[_OBJECT_JOB], unquote(values[_OBJECT_SOURCE])
    return OutputInfo(id_, source_key, version, values.get(_OBJECT_ROOT, ""))


def object_texts(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an object's metadata says, by the names that the texts of files have, without those of other programs."""
    values = {name.lower(): unquote(value) for name, value in metadata.items()}
    names = [name for name in values if name.startswith(_HEADER)]
    return {name.removeprefix(_HEADER).replace("-", "_"): values[name] for name in names}
