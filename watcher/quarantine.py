"""Error records: what the sink says about an image that could not be cut out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from watcher.errors import Rejected, Unavailable
from watcher.stores.base import FAILED, Store
from watcher.work import Job, Rejection


def record_key(source_key: str) -> str:
    """Where the error record of an image lies in the sink."""
    return f"{FAILED}{source_key}.json"


def quarantine(sink: Store, job: Job, rejection: Rejection) -> None:
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


def release(sink: Store, job: Job) -> None:
    """The image works now (or is gone): its error record, if it has one, is history."""
    sink.delete(record_key(job.ref.key))
