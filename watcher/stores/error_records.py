"""Error records: JSON files in the sink that say why an image was rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from watcher.core.errors import Gone, Rejected, Stale, Unavailable
from watcher.core.jobs import Job, Rejection
from watcher.stores.base import FAILED_PREFIX, Store


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """The contents of an error record."""

    key: str
    """The image's key in the source."""
    rejection: Rejection


def record_key(source_key: str) -> str:
    """The key of an image's error record in the sink."""
    return f"{FAILED_PREFIX}{source_key}.json"


def write_error_record(sink: Store, job: Job, rejection: Rejection) -> None:
    """Write the image's error record. Raises Unavailable."""
    record = {
        "key": job.ref.key,
        "reason": rejection.reason,
        "detail": rejection.detail,
        "output": job.output,
        "version": job.ref.version,
        "bytes": job.ref.size,
        "job": job.id,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "retry": "Replace the file, or fix the cause and run `alphadrop retry SOURCE SINK --pattern KEY`.",
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    try:
        sink.put_record(record_key(job.ref.key), text.encode())
    except Rejected as error:  # a file named _failed, or a link out of the sink: the sink is at fault, not the image
        raise Unavailable(f"the error record of {job.ref.key} cannot be written: {error.rejection.detail}") from error


def delete_error_record(sink: Store, job: Job) -> None:
    """Delete the image's error record, if there is one. Raises Unavailable.

    Looks first: in a versioned bucket, deleting a missing object leaves a delete marker.
    """
    key = record_key(job.ref.key)
    if sink.stat(sink.record_location(key)) is not None:
        sink.delete(key)


def read_error_records(sink: Store) -> Iterator[ErrorRecord]:
    """The error records of a sink, in the order of their keys. Other objects are skipped."""
    for ref in sink.list(FAILED_PREFIX):
        try:
            fields = parse_error_record(sink.read(ref))
            yield ErrorRecord(fields["key"], Rejection.parse(fields["reason"], fields["detail"]))
        except (Gone, Stale, ValueError):
            continue


def parse_error_record(data: bytes) -> dict[str, str]:
    """The texts of an error record by name: `key`, `reason`, `detail` and others. Raises ValueError for others."""
    fields = json.loads(data)
    if not isinstance(fields, dict) or not all(
        isinstance(fields.get(name), str) for name in ("key", "reason", "detail")
    ):
        raise ValueError("not an error record")
    return {name: value for name, value in fields.items() if isinstance(value, str)}
