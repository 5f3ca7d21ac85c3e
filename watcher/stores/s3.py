"""A bucket, or the objects below a prefix of one, as a store."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import structlog
from botocore.exceptions import ClientError

from watcher.aws.clients import translate_errors
from watcher.aws.errors import code_of, status_of
from watcher.core.errors import Conflict, Denied, Gone, Rejected, SourceMissing, Stale, Unavailable, WatcherError
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.core.reasons import Reason
from watcher.stores.base import MAX_IMAGE_BYTES, OutputInfo
from watcher.stores.output_metadata import (
    content_type,
    object_metadata,
    read_object_metadata,
    read_output_info,
    read_source_key,
)
from watcher.stores.s3_config import ConditionalWrites, PutOptions
from watcher.stores.s3_keys import etag_of, fitted_record_key, key_problem, ref_of, split_uri
from watcher.stores.s3_probe import PROBE_PREFIX, ConditionProbe

log = structlog.get_logger(__name__)

MAX_TAGS = 10
"""Tags that S3 allows an object to have."""
READ_ATTEMPTS = 4
"""How often an object is read if its body breaks off."""
READ_PAUSE = 0.2
"""Longest pause before the second attempt, in seconds; it doubles for each further one."""
BUCKET_CHECK_SECONDS = 5.0
"""How long a bucket that was seen is assumed to exist."""

Answer = Mapping[str, Any]


class S3Store:
    """The objects below `s3://bucket/prefix/`. Keys are relative to the prefix; keys that end in a slash are ignored.

    A version is an ETag without its quotes. Listings are ordered, except those of directory buckets (S3 Express).
    """

    def __init__(
        self,
        uri: str,
        client: Any,
        put: PutOptions | None = None,
        conditional_writes: ConditionalWrites | None = None,
    ) -> None:
        """`uri` is percent-encoded; `client` is boto3's; by default, the service enforces what Amazon S3 does."""
        self.client = client
        self.bucket, self._prefix = split_uri(uri)
        self.options = put or PutOptions()
        self._conditional_writes = conditional_writes or ConditionalWrites()
        self._bucket_seen_until = float("-inf")

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix/`, percent-encoded."""
        return f"s3://{self.bucket}/{quote(self._prefix)}"

    def place(self, key: str) -> dict[str, str]:
        """Bucket and key as arguments of a request."""
        return {"Bucket": self.bucket, "Key": self._prefix + key}

    def address(self, key: str) -> str:
        """The object's address, for messages."""
        return f"s3://{self.bucket}/{self._prefix}{key}"

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every object, in pages of a thousand. Raises SourceMissing or Unavailable."""
        pages = self.client.get_paginator("list_objects_v2")
        with translate_errors(f"listing {self.address(below)}"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._prefix + below):
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):
                        yield ref_of(entry["Key"][len(self._prefix) :], entry, entry["Size"])

    def stat(self, key: str) -> ImageRef | None:
        """The object's current version. Raises SourceMissing or Unavailable."""
        head = self._head(key)
        if head is None:
            self._require_bucket()
            return None
        return ref_of(key, head, head["ContentLength"])

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of that version; of any version if `ref.version` is empty.

        Raises Gone, Stale, Rejected (too large, archived), SourceMissing or Unavailable.
        """
        for attempt in range(1, READ_ATTEMPTS + 1):
            answer = self._get(ref)
            try:
                return self._read_body(ref.key, answer)
            except Unavailable:
                if attempt == READ_ATTEMPTS:
                    raise
            time.sleep(random.uniform(0, READ_PAUSE * 2 ** (attempt - 1)))
        raise AssertionError("unreachable")

    def output_info(self, key: str) -> OutputInfo | None:
        """Which output the object is, from its metadata or else from the file. Raises Unavailable.

        An incomplete file is not None, as in a folder: a put must know which version it replaces. A missing bucket is
        None: the put will report it.
        """
        head = self._head(key)
        if head is None:
            return None
        return read_object_metadata(head.get("Metadata", {}), etag_of(head)) or self._read_file(key, head)

    def metadata(self, key: str) -> dict[str, str] | None:
        """The metadata of an object, by its own names; None if there is no object. Raises Unavailable."""
        head = self._head(key)
        return None if head is None else dict(head.get("Metadata", {}))

    def put(self, output: Output, data: bytes, over: OutputInfo | None = None, facts: Facts | None = None) -> None:
        """Make `data` the object of the output, in one request. Raises Conflict, Rejected (its key) or Unavailable.

        If the answer to a put is lost, boto3 repeats it, and the second one conflicts with the first: `output_info`
        then names this output.
        """
        self._require_key(output.key)
        conditions = self._conditional_writes
        condition = conditions.for_version(over.version) if over else conditions.for_new_object()
        arguments = {
            "ContentType": content_type(output.key),
            "Metadata": object_metadata(output, facts),
        } | self.options.for_output()
        self._write(output.key, data, arguments, condition)

    def put_image(self, key: str, data: bytes) -> ImageRef:
        """Make `data` the object of an image, in one request. Raises Rejected (its key) or Unavailable."""
        self._require_key(key)
        self._write(key, data, {"ContentType": content_type(key)}, {})
        ref = self.stat(key)
        if ref is None:
            raise Unavailable(f"{self.address(key)} was removed as soon as it was written")
        return ref

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object at `record_location(key)`. Raises Unavailable."""
        arguments = {"ContentType": "application/json"} | self.options.for_record()
        self._write(self.record_location(key), data, arguments, {})

    def record_location(self, key: str) -> str:
        """The key of a record in listings: one that S3 does not allow is shortened and gets a digest."""
        return fitted_record_key(self._prefix, key)

    def delete(self, key: str) -> None:
        """Delete an object. Raises Unavailable."""
        location = self.record_location(key)
        if not key_problem(self._prefix + location):
            self._delete(location, {})

    def sweep(self) -> int:
        """Does nothing: an object appears complete or not at all."""
        return 0

    def probe_conditional_writes(self) -> ConditionalWrites:
        """Find out what the service enforces, with a few small puts that have the options of an output.

        Raises Unavailable, also if outputs cannot be written with these options.
        """
        key = PROBE_PREFIX + secrets.token_hex(8)
        probe = ConditionProbe(self.client, self.place(key), self.options.for_output())
        with translate_errors(f"probing {self.address(key)}"):
            try:
                return probe.run()
            finally:
                self._delete_probe(key, exists=probe.has_written)

    def tag(self, ref: ImageRef, name: str, value: str) -> None:
        """Add a tag to that version and keep its other tags. Raises Gone, Stale or Unavailable."""
        self._require(ref)
        with translate_errors(f"tagging {self.address(ref.key)}"):
            found = self.client.get_object_tagging(**self.place(ref.key))["TagSet"]
            tags = {tag["Key"]: tag["Value"] for tag in found} | {name: value}
            if len(tags) > MAX_TAGS:
                log.warning("too_many_tags", key=ref.key, tag=name, remedy="remove one of the object's tags")
                return
            tag_set = [{"Key": key, "Value": text} for key, text in tags.items()]
            self.client.put_object_tagging(**self.place(ref.key), Tagging={"TagSet": tag_set})

    def move(self, ref: ImageRef, prefix: str) -> None:
        """Move that version to a prefix of the bucket. Raises Gone, Stale or Unavailable."""
        self._require(ref)
        if key_problem(prefix + ref.key):
            log.warning("move_impossible", key=ref.key, prefix=prefix, remedy="choose a shorter prefix")
            return
        source, target = self.place(ref.key), {"Bucket": self.bucket, "Key": prefix + ref.key}
        match = {"CopySourceIfMatch": f'"{ref.version}"'} if ref.version else {}
        with translate_errors(f"moving {self.address(ref.key)} to {prefix}"):
            try:
                self.client.copy_object(**target, CopySource=source, **match)
            except ClientError as error:
                raise _read_error(error, self.address(ref.key)) or error from error
        self.delete_version(ref)

    def delete_version(self, ref: ImageRef) -> None:
        """Delete that version; nothing happens if the object is gone. Raises Stale or Unavailable."""
        try:
            self._require(ref)
        except Gone:
            return
        # A new version may arrive after the check: only a service that enforces conditions keeps it.
        self._delete(ref.key, self._conditional_writes.for_version(ref.version))

    def _head(self, key: str) -> Answer | None:
        """None if there is no object or no bucket: the answer has no body that says which."""
        if key_problem(self._prefix + key):
            return None
        with translate_errors(f"looking at {self.address(key)}"):
            try:
                answer: Answer = self.client.head_object(**self.place(key))
            except ClientError as error:
                if status_of(error.response) == 404:
                    return None
                raise _head_error(error, self.address(key)) or error from error
        return answer

    def _require(self, ref: ImageRef) -> None:
        now = self.stat(ref.key)
        if now is None:
            raise Gone(f"{ref.key} is not there any more")
        if ref.version not in ("", now.version):
            raise Stale(f"{ref.key} has changed since it was found")

    def _require_key(self, key: str) -> None:
        reason = key_problem(self._prefix + key)
        if reason:
            raise Rejected(reason, f"{key!r} cannot be a key below {self.uri}; rename the image")

    def _require_bucket(self) -> None:
        """A missing bucket does not mean that its objects were deleted. Raises SourceMissing or Unavailable."""
        if time.monotonic() < self._bucket_seen_until:
            return
        with translate_errors(f"looking for s3://{self.bucket}"):
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if status_of(error.response) == 404:
                    raise SourceMissing(
                        f"the bucket {self.bucket} does not exist; create it, or correct its name"
                    ) from error
                raise
        self._bucket_seen_until = time.monotonic() + BUCKET_CHECK_SECONDS

    def _get(self, ref: ImageRef, **arguments: str) -> Answer:
        if key_problem(self._prefix + ref.key):
            raise Gone(f"{ref.key!r} cannot be a key below {self.uri}")
        match = {"IfMatch": f'"{ref.version}"'} if ref.version else {}
        with translate_errors(f"reading {self.address(ref.key)}"):
            try:
                answer: Answer = self.client.get_object(**self.place(ref.key), **match, **arguments)
            except ClientError as error:
                if (
                    status_of(error.response) == 404 and code_of(error.response) == "404"
                ):  # no body that says what is missing
                    self._require_bucket()
                raise _read_error(error, self.address(ref.key)) or error from error
        return answer

    def _read_body(self, key: str, answer: Answer) -> bytes:
        """Read the body to its end. Raises Rejected, or Unavailable if it breaks off."""
        size = answer.get("ContentLength")
        with closing(answer["Body"]) as body, translate_errors(f"reading {self.address(key)}"):
            # In one piece: joining chunks would take twice the memory.
            data = b"" if size and size > MAX_IMAGE_BYTES else body.read(MAX_IMAGE_BYTES + 1)
        if max(size or 0, len(data)) > MAX_IMAGE_BYTES:
            raise Rejected(
                Reason.TOO_LARGE, f"{key} is larger than the {MAX_IMAGE_BYTES >> 20} MiB that are read of an image"
            )
        if size not in (None, len(data)):
            raise Unavailable(f"reading {self.address(key)}: the answer broke off after {len(data)} of {size} bytes")
        return bytes(data)

    def _read_file(self, key: str, head: Answer) -> OutputInfo | None:
        """Ask the file: it was copied from a folder, or its source key is too long for metadata."""
        version, size = etag_of(head), int(head["ContentLength"])

        def read(offset: int, length: int) -> bytes:
            return self._read_range(key, version, f"bytes={offset}-{offset + length - 1}")

        try:
            found = read_output_info(read, size)
            if found is None:  # an incomplete file, which may still name its source
                return OutputInfo(None, read_source_key(read, size), version)
        except Gone:
            return None
        except Stale as error:
            raise Unavailable(f"{self.address(key)} has changed while it was read; trying again") from error
        return replace(found, version=version)

    def _read_range(self, key: str, version: str, span: str) -> bytes:
        answer = self._get(ImageRef(key, version, 0), Range=span)
        return self._read_body(key, answer)

    def _write(self, key: str, data: bytes, arguments: Mapping[str, Any], condition: Mapping[str, str]) -> None:
        with translate_errors(f"writing {self.address(key)}"):
            try:
                self.client.put_object(**self.place(key), Body=data, **arguments, **condition)
            except ClientError as error:
                raise _write_error(error, self.address(key), bool(condition)) or error from error

    def _delete(self, key: str, condition: Mapping[str, str]) -> None:
        """Delete an object if there is one. Raises Stale if the condition is not met."""
        with translate_errors(f"deleting {self.address(key)}"):
            try:
                self.client.delete_object(**self.place(key), **condition)
            except ClientError as error:
                if status_of(error.response) == 404 and code_of(error.response) != "NoSuchBucket":
                    return
                raise _read_error(error, self.address(key)) or error from error

    def _delete_probe(self, key: str, *, exists: bool) -> None:
        """Delete the probe, also where the answer to its put was lost; complain only if it is known to exist."""
        try:
            self.delete(key)
        except Unavailable as error:
            remedy = "delete it by hand; it is not needed"
            if exists:
                log.warning("probe_not_deleted", key=key, problem=str(error), remedy=remedy)


_HEAD_REMEDIES = {
    400: "expired credentials are refused like this: renew them",
    403: "allow s3:GetObject, and s3:ListBucket, without which a missing object is refused like this too",
}


def _head_error(error: ClientError, address: str) -> WatcherError | None:
    """A failed HEAD as one of our errors; None leaves it to `translate`. Its answers have no body with a reason."""
    status = status_of(error.response)
    if status not in _HEAD_REMEDIES:
        return None
    why = f"refused ({status}); {_HEAD_REMEDIES[status]}"
    return Denied(f"{address}: {why}", public=why)


def _read_error(error: ClientError, address: str) -> WatcherError | None:
    """The failed read or copy of a version as one of our errors; None leaves it to `translate`."""
    code, status = code_of(error.response), status_of(error.response)
    if status == 412:
        return Stale(f"{address} has changed since it was found")
    if status == 404 and code != "NoSuchBucket":
        return Gone(f"{address} is not there any more")
    if code == "InvalidObjectState":
        remedy = "restore it or change its storage class, then retry"
        return Rejected(Reason.ARCHIVED, f"{address} is in an archive; {remedy}")
    return None


def _write_error(error: ClientError, address: str, conditional: bool) -> WatcherError | None:
    """A failed put as one of our errors; None leaves it to `translate`."""
    code, status = code_of(error.response), status_of(error.response)
    if code == "NoSuchBucket":
        missing = "the bucket does not exist; create it, or correct its name, endpoint or region"
        return Unavailable(f"{address}: {missing}", public=missing)
    if conditional and (status in (404, 412) or code == "ConditionalRequestConflict"):  # 404: nothing to replace
        return Conflict(f"{address} has changed since it was checked")
    if code == "KeyTooLongError":
        return Rejected(Reason.NAME_TOO_LONG, f"{address} is too long for this store; rename the image")
    return None
