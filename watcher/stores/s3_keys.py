"""Addresses and keys of objects, and what their metadata says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from watcher.core.jobs import Facts, ImageRef, Job
from watcher.stores.atomic import shortened
from watcher.stores.base import FAILED, Held
from watcher.stores.listing import is_text
from watcher.stores.stamp import source_text

LONGEST_KEY = 1024
"""Bytes of UTF-8."""
JOB = "alphadrop-job"
SOURCE = "alphadrop-source"
VERSION = "alphadrop-version"
MATTE_COVERAGE = "alphadrop-matte-coverage"
"""With hyphens, since some proxies drop headers that have an underscore in their names."""
_LONGEST_SOURCE = 1600
"""Bytes of a source's key in metadata, percent-encoded: S3 takes 2 KiB of metadata in all, names included."""
_RECORD_END = ".json"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of a percent-encoded `s3://bucket/prefix`; the prefix is empty or ends in a slash."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = unquote(prefix).rstrip("/")
    return bucket, prefix + "/" if prefix else ""


def problem(key: str) -> str | None:
    """Why a whole key, prefix and all, cannot be an object's, as a word for a rejection; None where it can.

    What ends in a slash is what consoles show as a folder.
    """
    if not key or key.endswith("/") or not is_text(key):
        return "bad_name"
    return "name_too_long" if len(key.encode()) > LONGEST_KEY else None


def record_key(prefix: str, key: str) -> str:
    """The key of a record below a prefix: itself, or for one below `_failed/` that is too long its start and digest."""
    room = LONGEST_KEY - len(prefix.encode())
    raw = key.encode(errors="backslashreplace")
    if not key.startswith(FAILED) or (is_text(key) and len(raw) <= room):
        return key
    ending = "-" + hashlib.sha256(raw).hexdigest()[:16] + _RECORD_END
    return shortened(raw.decode(), room - len(ending)) + ending


def etag_of(answer: Mapping[str, Any]) -> str:
    """The version of an object, without the quotes that some stores leave out."""
    return str(answer["ETag"]).strip('"')


def ref_of(key: str, answer: Mapping[str, Any], size: int) -> ImageRef:
    """What a listing or a HEAD says of an object."""
    return ImageRef(key, etag_of(answer), size, answer["LastModified"].timestamp())


def metadata_of(job: Job, facts: Facts | None = None) -> dict[str, str]:
    """What an output's metadata says, in ASCII. A source's key that does not fit is left out: the PNG has it too."""
    said = {JOB: job.id, SOURCE: quote(source_text(job.ref.key)), VERSION: quote(job.ref.version)}
    if len(said[SOURCE]) > _LONGEST_SOURCE:
        del said[SOURCE]
    return said | {MATTE_COVERAGE: facts.matte_coverage_text} if facts else said


def held_of(answer: Mapping[str, Any]) -> Held | None:
    """What an output's metadata says of its job; None where it does not say all of it."""
    said = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
    if JOB not in said or SOURCE not in said:
        return None
    return Held(said[JOB], unquote(said[SOURCE]), etag_of(answer))
