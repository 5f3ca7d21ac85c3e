"""S3 addresses, keys and versions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from watcher.core.jobs import ImageRef
from watcher.core.reasons import Reason
from watcher.stores.atomic import shortened
from watcher.stores.base import FAILED_PREFIX
from watcher.stores.listing import is_text

MAX_KEY_BYTES = 1024
"""Longest key that S3 allows, in bytes of UTF-8."""
_RECORD_END = ".json"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of a percent-encoded `s3://bucket/prefix`; the prefix is empty or ends in a slash."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = unquote(prefix).rstrip("/")
    return bucket, prefix + "/" if prefix else ""


def key_problem(key: str) -> Reason | None:
    """Why no object can have this key, prefix included; None if one can.

    A key that ends in a slash is what consoles show as a folder.
    """
    if not key or key.endswith("/") or not is_text(key):
        return Reason.BAD_NAME
    return Reason.NAME_TOO_LONG if len(key.encode()) > MAX_KEY_BYTES else None


def fitted_record_key(prefix: str, key: str) -> str:
    """The key below `prefix` at which a record is stored: `key`, or its start and a digest if S3 does not allow it.

    Only keys of error records are changed.
    """
    room = MAX_KEY_BYTES - len(prefix.encode())
    raw = key.encode(errors="backslashreplace")
    if not key.startswith(FAILED_PREFIX) or (is_text(key) and len(raw) <= room):
        return key
    ending = "-" + hashlib.sha256(raw).hexdigest()[:16] + _RECORD_END
    return shortened(raw.decode(), room - len(ending)) + ending


def etag_of(answer: Mapping[str, Any]) -> str:
    """The ETag of an answer as a version: without the quotes, which some stores leave out."""
    return str(answer["ETag"]).strip('"')


def ref_of(key: str, answer: Mapping[str, Any], size: int) -> ImageRef:
    """The image that an entry of a listing, or an answer to a HEAD, describes."""
    return ImageRef(key, etag_of(answer), size, answer["LastModified"].timestamp())
