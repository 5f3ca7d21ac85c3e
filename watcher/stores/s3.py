"""A bucket, or what lies below a prefix of one, as a store."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote

import structlog
from botocore.exceptions import ClientError

from inference.codec import HEAD_BYTES, read_text
from watcher.aws.clients import translated
from watcher.aws.errors import code_of, status_of
from watcher.core.errors import Gone, Rejected, SourceMissing, Stale, Unavailable
from watcher.core.jobs import Facts, ImageRef, Job
from watcher.stores import stamp
from watcher.stores.base import LARGEST, Held
from watcher.stores.s3_answers import head_trouble, read_trouble, write_trouble
from watcher.stores.s3_config import Conditions, PutOptions
from watcher.stores.s3_keys import etag_of, held_of, metadata_of, problem, record_key, ref_of, split_uri

log = structlog.get_logger(__name__)

MOST_TAGS = 10
"""That S3 lets an object have."""
READS = 4
"""So often an object is read whose body breaks off."""
PAUSE = 0.2
"""Seconds before the second time at most; twice as long before each further one."""
BUCKET_IS_THERE = 5.0
"""Seconds for which a bucket that was seen is taken to be there."""

Answer = Mapping[str, Any]


class S3Store:
    """The objects below `s3://bucket/prefix/`. Keys are relative to the prefix; those that end in a slash do not count.

    A version is an ETag without its quotes. Listings come in order, except from directory buckets (S3 Express).
    """

    def __init__(
        self, uri: str, client: Any, put: PutOptions | None = None, conditions: Conditions | None = None
    ) -> None:
        """`uri` is percent-encoded; `client` is boto3's. By default the store enforces what Amazon's does."""
        self.client = client
        self.bucket, self._prefix = split_uri(uri)
        self.options = put or PutOptions()
        self._conditions = conditions or Conditions()
        self._bucket_there_until = float("-inf")

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix/`, percent-encoded."""
        return f"s3://{self.bucket}/{quote(self._prefix)}"

    def place(self, key: str) -> dict[str, str]:
        """Bucket and key, as every request needs them."""
        return {"Bucket": self.bucket, "Key": self._prefix + key}

    def address(self, key: str) -> str:
        """Where an object is, for messages."""
        return f"s3://{self.bucket}/{self._prefix}{key}"

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every object, a page of a thousand at a time. Raises SourceMissing or Unavailable."""
        pages = self.client.get_paginator("list_objects_v2")
        with translated(f"listing {self.address(below)}"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._prefix + below):
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):
                        yield ref_of(entry["Key"][len(self._prefix) :], entry, entry["Size"])

    def stat(self, key: str) -> ImageRef | None:
        """The object's present version. Raises SourceMissing or Unavailable."""
        head = self._head(key)
        if head is None:
            self._require_bucket()
            return None
        return ref_of(key, head, head["ContentLength"])

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of that version; of any where `ref.version` is empty.

        Raises Gone, Stale, Rejected (too large, archived), SourceMissing or Unavailable.
        """
        for attempt in range(1, READS + 1):
            answer = self._get(ref)
            try:
                return self._whole(ref.key, answer)
            except Unavailable:
                if attempt == READS:
                    raise
            time.sleep(random.uniform(0, PAUSE * 2 ** (attempt - 1)))
        raise AssertionError("unreachable")

    def held(self, key: str) -> Held | None:
        """Which job the output was made by: its metadata tells, or else the PNG itself. Raises Unavailable.

        An object that is no whole PNG is held all the same, by whoever it names: a put must know which version to
        replace. That the bucket is missing is left for the put to tell.
        """
        head = self._head(key)
        if head is None:
            return None
        return held_of(head) or self._stamped(key, head)

    def put(self, job: Job, data: bytes, over: Held | None = None, facts: Facts | None = None) -> None:
        """Make `data` the output of the job, in one request. Raises Conflict, Rejected (its key) or Unavailable.

        Where the answer to a put is lost, boto3 sends it again, and that one conflicts with the first: whoever looks
        again will find this very job.
        """
        reason = problem(self._prefix + job.output)
        if reason:
            raise Rejected(reason, f"{job.output!r} can be no key below {self.uri}; rename the image")
        condition = self._conditions.for_version(over.version) if over else self._conditions.for_nothing()
        arguments = {"ContentType": "image/png", "Metadata": metadata_of(job, facts)} | self.options.of_output()
        self._write(job.output, data, arguments, condition)

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object; any key works, if need be under a name that is close to it. Raises Unavailable."""
        arguments = {"ContentType": "application/json"} | self.options.of_record()
        self._write(self.recorded_at(key), data, arguments, {})

    def recorded_at(self, key: str) -> str:
        """The key of a record in listings: what S3 cannot hold is shortened, with a digest. Its own key is itself."""
        return record_key(self._prefix, key)

    def delete(self, key: str) -> None:
        """Remove an object. Raises Unavailable."""
        at = self.recorded_at(key)
        if not problem(self._prefix + at):
            self._delete(at, {})

    def sweep(self) -> int:
        """There is never anything: an object appears whole or not at all."""
        return 0

    def tag(self, ref: ImageRef, name: str, value: str) -> None:
        """Add a tag to that version, and keep the others. Raises Gone, Stale or Unavailable."""
        self._require(ref)
        with translated(f"tagging {self.address(ref.key)}"):
            found = self.client.get_object_tagging(**self.place(ref.key))["TagSet"]
            tags = {tag["Key"]: tag["Value"] for tag in found} | {name: value}
            if len(tags) > MOST_TAGS:
                log.warning("tags_full", key=ref.key, tag=name, cure="remove one of the object's tags")
                return
            tag_set = [{"Key": key, "Value": text} for key, text in tags.items()]
            self.client.put_object_tagging(**self.place(ref.key), Tagging={"TagSet": tag_set})

    def move(self, ref: ImageRef, prefix: str) -> None:
        """Move that version to a prefix that begins at the bucket's root. Raises Gone, Stale or Unavailable."""
        self._require(ref)
        if problem(prefix + ref.key):
            log.warning("cannot_be_moved", key=ref.key, prefix=prefix, cure="choose a shorter prefix")
            return
        source, target = self.place(ref.key), {"Bucket": self.bucket, "Key": prefix + ref.key}
        match = {"CopySourceIfMatch": f'"{ref.version}"'} if ref.version else {}
        with translated(f"moving {self.address(ref.key)} to {prefix}"):
            try:
                self.client.copy_object(**target, CopySource=source, **match)
            except ClientError as error:
                raise read_trouble(error, self.address(ref.key)) or error from error
        self.remove(ref)

    def remove(self, ref: ImageRef) -> None:
        """Remove that version; it is all right if it is gone already. Raises Stale or Unavailable."""
        try:
            self._require(ref)
        except Gone:
            return
        # Between look and request another version may come: only a store that takes conditions can keep that one.
        self._delete(ref.key, self._conditions.for_version(ref.version))

    def _head(self, key: str) -> Answer | None:
        """None where there is no object, or no bucket: the answer has no body that would tell."""
        if problem(self._prefix + key):
            return None
        with translated(f"looking at {self.address(key)}"):
            try:
                answer: Answer = self.client.head_object(**self.place(key))
            except ClientError as error:
                if status_of(error.response) == 404:
                    return None
                raise head_trouble(error, self.address(key)) or error from error
        return answer

    def _require(self, ref: ImageRef) -> None:
        now = self.stat(ref.key)
        if now is None:
            raise Gone(f"{ref.key} is not there any more")
        if ref.version not in ("", now.version):
            raise Stale(f"{ref.key} has changed since it was found")

    def _require_bucket(self) -> None:
        """Nothing is gone while the bucket is. Raises SourceMissing or Unavailable."""
        if time.monotonic() < self._bucket_there_until:
            return
        with translated(f"looking for s3://{self.bucket}"):
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if status_of(error.response) == 404:
                    raise SourceMissing(
                        f"the bucket {self.bucket} does not exist; create it, or correct its name"
                    ) from error
                raise
        self._bucket_there_until = time.monotonic() + BUCKET_IS_THERE

    def _get(self, ref: ImageRef, **arguments: str) -> Answer:
        if problem(self._prefix + ref.key):
            raise Gone(f"{ref.key!r} can be no key below {self.uri}")
        match = {"IfMatch": f'"{ref.version}"'} if ref.version else {}
        with translated(f"reading {self.address(ref.key)}"):
            try:
                answer: Answer = self.client.get_object(**self.place(ref.key), **match, **arguments)
            except ClientError as error:
                if status_of(error.response) == 404 and code_of(error.response) == "404":  # no body that would tell
                    self._require_bucket()
                raise read_trouble(error, self.address(ref.key)) or error from error
        return answer

    def _whole(self, key: str, answer: Answer) -> bytes:
        """The body to its end. Raises Rejected, or Unavailable where it breaks off."""
        size = answer.get("ContentLength")
        with closing(answer["Body"]) as body, translated(f"reading {self.address(key)}"):
            # In one piece: chunks that are joined afterwards take twice the memory.
            data = b"" if size and size > LARGEST else body.read(LARGEST + 1)
        if max(size or 0, len(data)) > LARGEST:
            raise Rejected("too_large", f"{key} is larger than the {LARGEST >> 20} MiB that are read of an image")
        if size not in (None, len(data)):
            raise Unavailable(f"reading {self.address(key)}: it broke off after {len(data)} of {size} bytes")
        return bytes(data)

    def _stamped(self, key: str, head: Answer) -> Held | None:
        """What the PNG says itself: it was copied from a folder, or its source's key is too long for metadata."""
        version, size = etag_of(head), int(head["ContentLength"])
        try:
            start = self._part(key, version, f"bytes=0-{HEAD_BYTES - 1}") if size else b""
            end = start if size <= HEAD_BYTES else self._part(key, version, f"bytes=-{stamp.TAIL_BYTES}")
        except Gone:
            return None
        except Stale as error:
            raise Unavailable(f"{self.address(key)} is changed while it is looked at; trying again") from error
        found = stamp.read_stamp(start, end[-stamp.TAIL_BYTES :])
        if found is None:  # no whole PNG, but whose it was to be is known
            return Held(None, read_text(start).get(stamp.SOURCE), version)
        return Held(found.job, found.source_key, version)

    def _part(self, key: str, version: str, span: str) -> bytes:
        answer = self._get(ImageRef(key, version, 0), Range=span)
        return self._whole(key, answer)

    def _write(self, key: str, data: bytes, arguments: Mapping[str, Any], condition: Mapping[str, str]) -> None:
        with translated(f"writing {self.address(key)}"):
            try:
                self.client.put_object(**self.place(key), Body=data, **arguments, **condition)
            except ClientError as error:
                raise write_trouble(error, self.address(key), bool(condition)) or error from error

    def _delete(self, key: str, condition: Mapping[str, str]) -> None:
        """Raises Stale where the condition does not hold; that nothing is there is all right."""
        with translated(f"deleting {self.address(key)}"):
            try:
                self.client.delete_object(**self.place(key), **condition)
            except ClientError as error:
                if status_of(error.response) == 404 and code_of(error.response) != "NoSuchBucket":
                    return
                raise read_trouble(error, self.address(key)) or error from error
