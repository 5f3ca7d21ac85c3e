"""Where an output says what it is and how it was made: as text in the file, and as metadata of an S3 object."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import quote, unquote

from inference.codec import HEAD_BYTES, is_complete_png, read_text
from inference.codec.png import SIGNATURE
from watcher.core.jobs import Facts, Output
from watcher.stores.base import OutputInfo

TAIL_BYTES = 12
"""Length of the PNG's last chunk, which shows that the file is complete."""

KEYWORD = "alphadrop:"
"""What the keyword of each text in a file begins with."""
_JOB, _OUTPUT, _SOURCE = "job", "output", "source"
_MAX_SOURCE = HEAD_BYTES // 2
"""Longest key, in bytes, that is written into a file unchanged."""

# Hyphens, because some proxies drop headers with underscores in their names.
_HEADER = "alphadrop-"
_OBJECT_JOB = "alphadrop-job"
_OBJECT_OUTPUT = "alphadrop-output"
_OBJECT_SOURCE = "alphadrop-source"
_OBJECT_VERSION = "alphadrop-version"
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
    texts = ids | {_SOURCE: recorded_source(output.ref.key)} | (facts.texts if facts else {})
    return {KEYWORD + name: value for name, value in texts.items()}


def read_output_text(text: Mapping[str, str]) -> OutputInfo:
    """Read which output a file is from its text; OutputInfo(None, None) if alphadrop did not write it."""
    return OutputInfo(text.get(KEYWORD + _OUTPUT) or text.get(KEYWORD + _JOB), text.get(KEYWORD + _SOURCE))


def read_png_text(head: bytes, tail: bytes) -> OutputInfo | None:
    """Read which output a PNG is from its first HEAD_BYTES and its last TAIL_BYTES bytes.

    None if the file is empty or the PNG is incomplete; OutputInfo(None, None) if alphadrop did not write the file.
    """
    if SIGNATURE.startswith(head[: len(SIGNATURE)]) and not is_complete_png(tail):
        return None
    return read_output_text(read_text(head))


def read_png_source(head: bytes) -> str | None:
    """The source key that a PNG records, even if the file is incomplete; None if it records none."""
    return read_output_text(read_text(head)).source_key


def object_metadata(output: Output, facts: Facts | None = None) -> dict[str, str]:
    """The metadata of an output's object, in ASCII. What is too long for it is left out: the file has it, too."""
    wanted = {
        _OBJECT_JOB: output.job or output.id,
        **({_OBJECT_OUTPUT: output.id} if output.job else {}),
        _OBJECT_SOURCE: quote(recorded_source(output.ref.key)),
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
    return OutputInfo(values.get(_OBJECT_OUTPUT) or values[_OBJECT_JOB], unquote(values[_OBJECT_SOURCE]), version)
