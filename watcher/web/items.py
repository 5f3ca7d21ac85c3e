"""The API's item: what is known of one image, as JSON. What is not known is null or absent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from watcher.core.jobs import Outcome
from watcher.protocol import ImageReport
from watcher.stores.output_metadata import content_type
from watcher.web.history import Finished, Record, Status, StoredOutput

BASE = "/v1/cutouts"


def item_json(record: Record, prefix: str) -> dict[str, Any]:
    """The item of a record; `prefix` is that of uploads."""
    address = f"{BASE}/{record.id}"
    # It changes with the pictures behind the addresses, so that these may be cached.
    version = f"?v={record.job[:8]}{int(1000 * (record.finished or 0)):x}"
    return {
        "id": record.id,
        "key": record.key,
        "name": name_of(record.key, prefix),
        "batch": record.batch,
        "status": record.status.value,
        "reason": record.reason or None,
        "message": record.message or None,
        "outputs": [_output(output, address, version) for output in record.outputs],
        "original": f"{address}/original",
        "thumbnail": f"{address}/thumbnail{version}",
        "score": record.score,
        "doubts": list(record.doubts),
        "model": record.model or None,
        "decision": record.decision,
        "created": timestamp(record.created),
        "finished": timestamp(record.finished),
    }


def _output(output: StoredOutput, address: str, version: str) -> dict[str, Any]:
    return {
        "name": output.name,
        "key": output.key,
        "url": f"{address}/outputs/{quote(output.name, safe='')}{version}",
        "media_type": content_type(output.key),
        "width": output.width,
        "height": output.height,
        "bytes": output.bytes,
    }


def timestamp(unix: float | None) -> str | None:
    """A Unix time in ISO 8601, UTC.

    >>> timestamp(1_700_000_000.25)
    '2023-11-14T22:13:20.250Z'
    """
    if unix is None:
        return None
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def batch_of(key: str, prefix: str) -> str | None:
    """The batch of an uploaded image; None for an image that came another way.

    >>> batch_of("uploads/summer/a/b.jpg", "uploads/"), batch_of("a/b.jpg", "uploads/")
    ('summer', None)
    """
    batch, slash, _ = key.removeprefix(prefix).partition("/")
    return batch if slash and key.startswith(prefix) else None


def name_of(key: str, prefix: str) -> str:
    """What to call an image: its path in its batch, or its whole key."""
    batch = batch_of(key, prefix)
    return key if batch is None else key.removeprefix(f"{prefix}{batch}/")


def finished_of(report: ImageReport, prefix: str, now: float) -> Finished | None:
    """What a worker's report says about an item; None where it says nothing, because another version is on its way."""
    if report.outcome is Outcome.STALE:
        return None
    ended = report.ended or now
    end = Finished(
        key=report.key,
        job=report.job,
        status=Status.DONE,
        now=ended,
        created=min(report.starts.values(), default=ended),
        batch=batch_of(report.key, prefix),
    )
    match report.outcome:
        case Outcome.REJECTED:
            return replace(end, status=Status.REJECTED, reason=report.reason, message=report.detail)
        case Outcome.GONE:
            message = "The image was deleted from the source before it was processed."
            return replace(end, status=Status.REJECTED, reason="gone", message=message, keep=True)
        case Outcome.ALREADY_DONE:
            return replace(end, keep=True)
    outputs = tuple(StoredOutput(o.name, o.key, o.bytes, o.width, o.height) for o in report.outputs)
    return replace(end, outputs=outputs, score=report.confidence, doubts=tuple(report.doubts), model=report.model)
