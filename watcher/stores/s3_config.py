"""How to reach a bucket and how to write to it, as plain values that travel between processes. Needs no boto3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from watcher.aws.clients import AwsOptions


@dataclass(frozen=True)
class ConditionalWrites:
    """Which conditional writes a service enforces. The defaults are those of Amazon S3."""

    if_none_match: bool = True
    """A put with `If-None-Match: *` fails if the key exists."""
    if_match: Literal["", "quoted", "unquoted"] = "quoted"
    """How to write an ETag so that a put with `If-Match` fails if the object has another one; "": never enforced."""

    @property
    def enforced(self) -> dict[str, bool]:
        """Each condition by its name in metrics, and whether the store enforces it."""
        return {"if_none_match": self.if_none_match, "if_match": bool(self.if_match)}

    def for_version(self, version: str) -> dict[str, str]:
        """Arguments of a request that must find this version; none if the service cannot check it."""
        if not version or not self.if_match:
            return {}
        return {"IfMatch": f'"{version}"' if self.if_match == "quoted" else version}

    def for_new_object(self) -> dict[str, str]:
        """Arguments of a put that must find no object at its key; none if the service cannot check it."""
        return {"IfNoneMatch": "*"} if self.if_none_match else {}


NO_CONDITIONAL_WRITES = ConditionalWrites(False, "")


@dataclass(frozen=True)
class PutOptions:
    """What outputs are stored with; an empty value leaves it to the bucket's default."""

    storage_class: str = ""
    kms_key: str = ""
    tags: str = ""
    """NAME=VALUE pairs, separated by commas."""
    acl: str = ""
    """Name of a canned ACL."""

    def for_output(self) -> dict[str, str]:
        """Arguments of an output's put."""
        arguments = {"StorageClass": self.storage_class, "ACL": self.acl, "Tagging": _encoded(self.tags)}
        return {name: value for name, value in arguments.items() if value} | self._encryption()

    def for_record(self) -> dict[str, str]:
        """Arguments of a record's put: only what the bucket's policy may demand of every object.

        Not the storage class, because some make small objects expensive; no public ACL, because a record is not for
        everybody who may see outputs.
        """
        return ({"ACL": self.acl} if self.acl.startswith("bucket-owner") else {}) | self._encryption()

    def _encryption(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}


def _encoded(tags: str) -> str:
    pairs = [pair.partition("=") for pair in tags.split(",") if pair.strip()]
    return urlencode([(name.strip(), value.strip()) for name, _, value in pairs])


@dataclass(frozen=True)
class S3Config:
    """Everything that a bucket is opened with."""

    aws: AwsOptions = field(default_factory=AwsOptions)
    put: PutOptions = field(default_factory=PutOptions)
    conditional_writes: ConditionalWrites | None = None
    """What `Store.probe_conditional_writes` found; None assumes the defaults for Amazon S3, and nothing for others."""
