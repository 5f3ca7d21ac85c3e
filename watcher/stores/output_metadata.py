"""Where an output says which job and which image made it: as text in the PNG, and as metadata of an S3 object."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import quote, unquote

from inference.codec import HEAD_BYTES, is_complete_png, read_text
from inference.codec.png import SIGNATURE
from watcher.core.jobs import Facts, Job
from watcher.stores.base import OutputInfo

TAIL_BYTES = 12
"""Length of the PNG's last chunk, which shows that the file is complete."""

_PNG_JOB = "alphadrop:job"
_PNG_SOURCE = "alphadrop:source"
_PNG_MATTE_COVERAGE = "alphadrop:matte_coverage"
_PNG_MAX_SOURCE = HEAD_BYTES // 2
"""Longest key, in bytes, that is written into a PNG unchanged."""

# Hyphens, because some proxies drop headers with underscores in their names.
_OBJECT_JOB = "alphadrop-job"
_OBJECT_SOURCE = "alphadrop-source"
_OBJECT_VERSION = "alphadrop-version"
_OBJECT_MATTE_COVERAGE = "alphadrop-matte-coverage"
_OBJECT_MAX_SOURCE = 1600
"""Longest percent-encoded key, in bytes, in an object's metadata: S3 allows 2 KiB for all metadata, names included."""


def recorded_source(key: str) -> str:
    """A source key as outputs record it: unchanged, or its start and a digest where a PNG's head has no room for it."""
    raw = key.encode()
    if len(raw) <= _PNG_MAX_SOURCE:
        return key
    return raw[: _PNG_MAX_SOURCE - 70].decode(errors="ignore") + "#" + hashlib.sha256(raw).hexdigest()


def png_text(job: Job, facts: Facts | None = None) -> dict[str, str]:
    """The text to write into a job's PNG, by keyword."""
    text = {_PNG_JOB: job.id, _PNG_SOURCE: recorded_source(job.ref.key)}
    return text | {_PNG_MATTE_COVERAGE: facts.matte_coverage_text} if facts else text


def read_png_text(head: bytes, tail: bytes) -> OutputInfo | None:
    """Read who made a PNG from its first HEAD_BYTES and its last TAIL_BYTES bytes.

    None if the file is empty or the PNG is incomplete; OutputInfo(None, None) if alphadrop did not write the file.
    """
    if SIGNATURE.startswith(head[: len(SIGNATURE)]) and not is_complete_png(tail):
        return None
    text = read_text(head)
    return OutputInfo(text.get(_PNG_JOB), text.get(_PNG_SOURCE))


def read_png_source(head: bytes) -> str | None:
    """The source key that a PNG records, even if the file is incomplete; None if it records none."""
    return read_text(head).get(_PNG_SOURCE)


def object_metadata(job: Job, facts: Facts | None = None) -> dict[str, str]:
    """The metadata of an output's object, in ASCII. A source key that is too long is left out: the PNG has it too."""
    metadata = {
        _OBJECT_JOB: job.id,
        _OBJECT_SOURCE: quote(recorded_source(job.ref.key)),
        _OBJECT_VERSION: quote(job.ref.version),
    }
    if len(metadata[_OBJECT_SOURCE]) > _OBJECT_MAX_SOURCE:
        del metadata[_OBJECT_SOURCE]
    return metadata | {_OBJECT_MATTE_COVERAGE: facts.matte_coverage_text} if facts else metadata


def read_object_metadata(metadata: Mapping[str, str], version: str) -> OutputInfo | None:
    """Read who made an object from its metadata; None if job or source is missing there."""
    values = {name.lower(): value for name, value in metadata.items()}
    if _OBJECT_JOB not in values or _OBJECT_SOURCE not in values:
        return None
    return OutputInfo(values[_OBJECT_JOB], unquote(values[_OBJECT_SOURCE]), version)
