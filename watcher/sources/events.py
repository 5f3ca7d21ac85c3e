"""Parses the messages that announce new objects, in every format that stores and brokers send.

A message is a JSON object with one of these:

- `Records`: an S3 event notification. AWS sends it to SQS; MinIO and Ceph send it to webhooks and brokers.
- `Message`: any of the others as a string, as SNS wraps them.
- `detail-type` and `detail`: EventBridge.
- `alphadrop`: our own format, see `encode_arrival`.

They differ in how they write keys. AWS and MinIO encode them like form values (a space is a `+`); Ceph and EventBridge
send them as they are. Only `eventSource` shows which, and not every service's is known, so a key may have two readings.
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
"""Longest message in bytes. SQS allows no more; an event has about 1 KiB."""

_AWS, _CEPH = "aws:s3", "ceph:s3"
# Ceph sends "Synced" for an object that was created in another zone and copied to this one.
_WRITTEN = re.compile(r"(s3:)?(ObjectCreated:|ObjectSynced:Create)")
_SIZE = re.compile(r"[0-9]{1,18}")
# Files' versions and all stores' ETags match this; anything else could not be sent in a request's header.
_VERSION = re.compile(r"[!-~]{1,128}")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_TIMES = 2.0**63


@dataclass(frozen=True, slots=True)
class WriteEvent:
    """The announcement that an object was written. A field that the message does not have is ""."""

    key: str
    """The key in the bucket, in its likelier reading; in our own messages, the key below the source."""
    bucket: str = ""
    """The bucket's name; "" in our own messages."""
    source: str = ""
    """The source's URI; only in our own messages."""
    other_key: str = ""
    """The other reading of the key, if it differs."""
    version: str = ""
    """The ETag without its quotes; in our own messages, the version as the source's store writes it. "" also stands for
    a text that cannot be a version."""
    size: int = -1
    """In bytes; -1 if unknown."""
    modified: float = 0.0
    """As in `ImageRef`; only in our own messages."""
    sequencer: str = ""
    """Hex digits that order the events of one key; only from AWS, because others' do not order them."""


def encode_arrival(source_uri: str, ref: ImageRef) -> bytes:
    """Write our own message that an image of a source has arrived, in ASCII. `parse` reads it."""
    message = {
        "alphadrop": 1,
        "source": source_uri,
        "key": ref.key,
        "version": ref.version,
        "size": ref.size,
        "modified": ref.modified,
    }
    return json.dumps(message).encode()


def parse(body: bytes) -> list[WriteEvent]:
    """The writes that a message announces; [] for an event of another kind. Raises nothing but NotAnEvent."""
    if len(body) > LIMIT:
        raise NotAnEvent(f"it is longer than {LIMIT} bytes")
    return _events(_load(body))


def _load(text: bytes | str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 and endless numbers are ValueErrors, too
        raise NotAnEvent("it is not JSON") from error
    if not isinstance(message, dict):
        raise NotAnEvent("it is not a JSON object")
    return message


def _events(message: Mapping[str, Any]) -> list[WriteEvent]:
    match message:
        case {"alphadrop": version}:
            return [_own(version, message)]
        case {"Records": list(records)}:
            found = (_record(record, message.get("Key")) for record in records)
            return [event for event in found if event]
        case {"Type": "Notification", "Message": str(text)}:
            return _events(_load(text))  # ends soon: each wrapping doubles the backslashes
        case {"Type": "SubscriptionConfirmation"}:
            raise NotAnEvent("SNS asks to confirm the subscription: open the SubscribeURL that it sent")
        case {"detail-type": "Object Created"}:
            return [_bridged(message.get("detail"))]
        case {"detail-type": str()} | {"Event": "s3:TestEvent"}:
            return []
    raise NotAnEvent("it has none of the shapes of an event: S3's Records, SNS, EventBridge or alphadrop's own")


def _own(format_version: object, message: Mapping[str, Any]) -> WriteEvent:
    if format_version != 1:
        raise NotAnEvent("it is in a format of a later version of alphadrop; update this one")
    match message:
        case {"source": str(source), "key": str(key)} if source and key:
            version, modified = _version(message.get("version")), _time(message.get("modified"))
            return WriteEvent(key, source=source, version=version, size=_size(message.get("size")), modified=modified)
    raise NotAnEvent("it does not say which source and key it is about")


def _record(record: Any, path: object) -> WriteEvent | None:
    """One S3 record; None if nothing was written. `path` is what MinIO adds: bucket and key, not encoded."""
    match record:
        case {"eventName": str(name)} if not _WRITTEN.match(name):
            return None
        case {"eventName": str(), "s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(raw)} as written}}:
            source = _text(record.get("eventSource"))
            key, other = _readings(raw, verbatim=source == _CEPH)
            if path == f"{bucket}/{key}":
                other = ""
            sequencer = written.get("sequencer") if source == _AWS else None
            return _write_event(bucket, key, other, written, written.get("eTag"), sequencer)
    raise NotAnEvent("one of its records has no eventName, bucket or key")


def _bridged(detail: Any) -> WriteEvent:
    """The detail of an EventBridge event "Object Created"."""
    match detail:
        case {"bucket": {"name": str(bucket)}, "object": {"key": str(raw)} as written}:
            # AWS documents that the keys in Records are encoded, but not these:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
            key, other = _readings(raw, verbatim=True)
            return _write_event(bucket, key, other, written, written.get("etag"), written.get("sequencer"))
    raise NotAnEvent("its detail has no bucket or key")


def _write_event(
    bucket: str, key: str, other_key: str, written: Mapping[str, Any], etag: object, sequencer: object
) -> WriteEvent:
    if not bucket or not key or not _is_utf8(key):
        raise NotAnEvent("its bucket or key is empty or not text")
    return WriteEvent(
        key,
        bucket,
        other_key=other_key,
        version=_version(etag),
        size=_size(written.get("size")),
        sequencer=_sequencer(sequencer),
    )


def _readings(raw: str, *, verbatim: bool) -> tuple[str, str]:
    """The likelier reading of a key, and the other one; "" if they are the same."""
    decoded = _form_decoded(raw)
    likely, other = (raw, decoded) if verbatim else (decoded, raw)
    return likely, "" if other == likely else other


def _form_decoded(raw: str) -> str:
    try:
        return unquote_plus(raw, errors="strict")
    except UnicodeDecodeError:  # keys are UTF-8, so this one was not encoded
        return raw


def _is_utf8(text: str) -> bool:
    """Whether a text can be a key in a bucket: JSON can hold lone surrogates, which cannot be encoded."""
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
    """A size in bytes, which Ceph writes as a string; -1 for anything else."""
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
