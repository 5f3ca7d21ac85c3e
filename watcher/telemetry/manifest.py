"""The manifest: one line of JSON for each finished image, in a file or a bucket that only grows."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from watcher.core.errors import Unavailable
from watcher.core.jobs import Outcome
from watcher.protocol import ImageReport
from watcher.stores.base import Store

_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
LISTED = (Outcome.WRITTEN, Outcome.ALREADY_DONE, Outcome.REJECTED)
"""The outcomes that the manifest lists; an image that is gone, or has a newer version, is not finished."""


class Manifest(Protocol):
    """Where lines are added. A line is durable when `add` returns."""

    def add(self, line: bytes) -> None:
        """Add one line, which ends in a line break. Raises Unavailable; then nothing was added."""
        ...


class FileManifest:
    """A file on a local disk, to which any number of processes add lines, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, line: bytes) -> None:
        """See `Manifest.add`. The file is opened each time, so that it may be renamed when it has grown too large."""
        try:
            with open(os.open(self._path, _APPEND, 0o644), "rb+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _append(file.fileno(), line)
        except OSError as error:
            why = f"{error.strerror}; let this user write there, and see that the disk has room"
            raise Unavailable(f"cannot write the manifest {self._path}: {why}", public=why) from error


def _append(fd: int, line: bytes) -> None:
    """Add a line, or nothing. A line that a power cut has broken off is ended first."""
    size = os.fstat(fd).st_size
    broken = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    rest = memoryview(b"\n" * broken + line)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fdatasync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


class BucketManifest:
    """A prefix of a bucket, which gets one small object for each line: no object can be appended to.

    The keys begin with day and time, so that a listing has the lines in the order in which they were added, and a
    reader goes on behind the last key that it has seen.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store, self._clock = store, clock

    def add(self, line: bytes) -> None:
        """See `Manifest.add`."""
        now = self._clock()
        self._store.put_record(f"{now:%Y-%m-%d/%H%M%S.%f}-{secrets.token_hex(4)}.json", line)


@dataclass(frozen=True)
class ManifestWriter:
    """Adds the lines of finished images to a manifest."""

    manifest: Manifest
    source: str
    sink: str

    def add(self, report: ImageReport) -> None:
        """Add the line of an image, unless it is gone or has a newer version. Raises Unavailable."""
        if report.outcome in LISTED:
            self.manifest.add(manifest_line(self.source, self.sink, report))


def manifest_line(source: str, sink: str, report: ImageReport) -> bytes:
    """The line about a finished image; what does not apply is left out."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "key": report.key,
        "status": report.outcome.value,
        "source": source,
        "sink": sink,
        "job": report.job,
        "matte_coverage": report.coverage if report.outcome is Outcome.WRITTEN else None,
        "confidence": report.confidence,
        "doubts": report.doubts,
        "model": report.model,
        "other_confidence": report.other_confidence,
        "outputs": [output.model_dump(mode="json", exclude={"written"}) for output in report.outputs],
        "reason": report.reason,
        "detail": report.detail,
    }
    known = {name: value for name, value in line.items() if value not in (None, "", [])}
    return json.dumps(known, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
