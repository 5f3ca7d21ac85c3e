"""Error records: what the sink says about an image that could not be cut out."""

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
    """What an error record says."""

    key: str
    """The image's key in the source."""
    rejection: Rejection


def record_key(source_key: str) -> str:
    """Where the error record of an image lies in the sink."""
    return f"{FAILED_PREFIX}{source_key}.json"


def write_error_record(sink: Store, job: Job, rejection: Rejection) -> None:
    """Write the error record: what, why, which version, when, and how to try again. Raises Unavailable."""
    record = {
        "key": job.ref.key,
        "reason": rejection.reason,
        "detail": rejection.detail,
        "output": job.output,
        "version": job.ref.version,
        "bytes": job.ref.size,
        "job": job.id,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "retry": "Replace the file, or run `alphadrop retry SOURCE SINK --pattern KEY` when the cause is mended.",
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    try:
        sink.put_record(record_key(job.ref.key), text.encode())
    except Rejected as error:  # a file is called _failed, or it leads out of the sink: that is the sink's trouble
        raise Unavailable(f"the error record of {job.ref.key} cannot be written: {error.rejection.detail}") from error


def delete_error_record(sink: Store, job: Job) -> None:
    """The image works now (or is gone): its error record, if it has one, is history.

    Looked for first: in a versioned bucket, deleting what is not there leaves a marker.
    """
    key = record_key(job.ref.key)
    if sink.stat(sink.record_location(key)) is not None:
        sink.delete(key)


def read_error_records(sink: Store) -> Iterator[ErrorRecord]:
    """The error records of a sink, in the order of their keys; what is no record is passed over."""
    for ref in sink.list(FAILED_PREFIX):
        try:
            fields = json.loads(sink.read(ref))
            yield ErrorRecord(fields["key"], Rejection.parse(fields["reason"], fields["detail"]))
        except (Gone, Stale, ValueError, KeyError, TypeError):
            continue
