"""What messages say has arrived: one parser for all their shapes.

A message is a JSON object:

- `Records`, as S3 itself says it. AWS sends that to SQS, MinIO and Ceph send it to webhooks and brokers.
- `Message`, a string with any of the others in it: what SNS makes of them.
- `detail-type` and `detail`: EventBridge.
- `alphadrop`: what `encode_arrival` writes.

Keys are where they differ. AWS and MinIO encode them like a form's values (a space is a `+`), Ceph and EventBridge send
them as they are. Nothing but `eventSource` tells which, and not every store's is known: hence two readings of a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from watcher.core.errors import NotAnEvent
from watcher.core.jobs import ImageRef

LIMIT = 1 << 20
"""Bytes of the longest message. Brokers carry less: SQS 1 MiB at most, an event has about 1 KiB."""

_AWS, _CEPH = "aws:s3", "ceph:s3"
# "Synced" is Ceph's word for what another zone has created and this one now has too.
_WRITTEN = re.compile(r"(s3:)?(ObjectCreated:|ObjectSynced:Create)")
_SIZE = re.compile(r"[0-9]{1,18}")
# Of a file's version and of every store's ETag: what else there may be cannot be sent back in a request's header.
_VERSION = re.compile(r"[!-~]{1,128}")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_TIMES = 2.0**63


@dataclass(frozen=True, slots=True)
class Notice:
    """A message says that an object was written; "" stands for what it does not say."""

    key: str
    """The whole key in the bucket, in the most likely reading; in our own messages the key below the source."""
    bucket: str = ""
    """The bucket's name; "" in our own messages."""
    source: str = ""
    """The source's URI, in our own messages alone."""
    other_key: str = ""
    """The other reading of the key, where it is another one."""
    version: str = ""
    """The ETag without its quotes; in our own messages the version as the source's store writes it. What can be none is
    not known."""
    size: int = -1
    """In bytes; -1 where it is not known."""
    modified: float = 0.0
    """As in `ImageRef`: known in our own messages alone."""
    sequencer: str = ""
    """Hex digits that order the events of one key; AWS's alone do, others' are left out."""


def encode_arrival(source_uri: str, ref: ImageRef) -> bytes:
    """The message that an image of a source has arrived, in ASCII; `parse` reads back the same."""
    message = {
        "alphadrop": 1,
        "source": source_uri,
        "key": ref.key,
        "version": ref.version,
        "size": ref.size,
        "modified": ref.modified,
    }
    return json.dumps(message).encode()


def parse(body: bytes) -> list[Notice]:
    """What a message announces: [] for an event of another kind. Raises NotAnEvent, and nothing else."""
    if len(body) > LIMIT:
        raise NotAnEvent(f"it is longer than {LIMIT} bytes")
    return _notices(_load(body))


def _load(text: bytes | str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # wrong UTF-8 and numbers without end are ValueErrors, too
        raise NotAnEvent("it is not JSON") from error
    if not isinstance(message, dict):
        raise NotAnEvent("it is not a JSON object")
    return message


def _notices(message: Mapping[str, Any]) -> list[Notice]:
    match message:
        case {"alphadrop": version}:
            return [_own(version, message)]
        case {"Records": list(records)}:
            found = (_record(record, message.get("Key")) for record in records)
            return [notice for notice in found if notice]
        case {"Type": "Notification", "Message": str(text)}:
            return _notices(_load(text))  # ends soon: each wrapping doubles the backslashes of the last
        case {"Type": "SubscriptionConfirmation"}:
            raise NotAnEvent(
                "SNS wants the subscription confirmed: that is for you to do, with the SubscribeURL it sent"
            )
        case {"detail-type": "Object Created"}:
            return [_bridged(message.get("detail"))]
        case {"detail-type": str()} | {"Event": "s3:TestEvent"}:
            return []
    raise NotAnEvent("it has none of the shapes of an event: S3's Records, SNS, EventBridge or alphadrop's own")


def _own(format_version: object, message: Mapping[str, Any]) -> Notice:
    if format_version != 1:
        raise NotAnEvent("it is of a format that a later alphadrop may know")
    match message:
        case {"source": str(source), "key": str(key)} if source and key:
            version, modified = _version(message.get("version")), _time(message.get("modified"))
            return Notice(key, source=source, version=version, size=_size(message.get("size")), modified=modified)
    raise NotAnEvent("it does not say which source and key it is about")


def _record(record: Any, path: object) -> Notice | None:
    """One of S3's records, None where nothing was written. `path` is what MinIO adds: bucket and key, not encoded."""
    match record:
        case {"eventName": str(name)} if not _WRITTEN.match(name):
            return None
        case {"eventName": str(), "s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(raw)} as written}}:
            source = _text(record.get("eventSource"))
            key, other = _readings(raw, verbatim=source == _CEPH)
            if path == f"{bucket}/{key}":
                other = ""
            sequencer = written.get("sequencer") if source == _AWS else None
            return _notice(bucket, key, other, written, written.get("eTag"), sequencer)
    raise NotAnEvent("one of its records has no eventName, bucket or key")


def _bridged(detail: Any) -> Notice:
    """The detail of EventBridge's Object Created."""
    match detail:
        case {"bucket": {"name": str(bucket)}, "object": {"key": str(raw)} as written}:
            # Only of the keys in Records does AWS say that they are encoded:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
            key, other = _readings(raw, verbatim=True)
            return _notice(bucket, key, other, written, written.get("etag"), written.get("sequencer"))
    raise NotAnEvent("its detail has no bucket or key")


def _notice(
    bucket: str, key: str, other_key: str, written: Mapping[str, Any], etag: object, sequencer: object
) -> Notice:
    if not bucket or not key or not _is_utf8(key):
        raise NotAnEvent("its bucket or key is empty or not text")
    return Notice(
        key,
        bucket,
        other_key=other_key,
        version=_version(etag),
        size=_size(written.get("size")),
        sequencer=_sequencer(sequencer),
    )


def _readings(raw: str, *, verbatim: bool) -> tuple[str, str]:
    """A key as it probably is, and as it may be else: "" where there is no such other reading."""
    decoded = _form_decoded(raw)
    likely, other = (raw, decoded) if verbatim else (decoded, raw)
    return likely, "" if other == likely else other


def _form_decoded(raw: str) -> str:
    try:
        return unquote_plus(raw, errors="strict")
    except UnicodeDecodeError:  # keys are UTF-8, so this one is not encoded
        return raw


def _is_utf8(text: str) -> bool:
    """Whether it can be a key in a bucket: JSON can also write halves of characters."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _version(value: object) -> str:
    text = _text(value).strip('"')
    return text if _VERSION.fullmatch(text) else ""


def _size(value: object) -> int:
    """A number of bytes, which Ceph writes as a string; -1 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return -1
    if isinstance(value, str):
        return int(value) if _SIZE.fullmatch(value) else -1
    return value if 0 <= value < 10**18 else -1


def _time(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < _TIMES else 0.0


def _sequencer(value: object) -> str:
    text = _text(value)
    return text if _HEX.fullmatch(text) else ""
