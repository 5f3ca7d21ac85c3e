"""How a bucket is reached and written to: plain values that travel as JSON. Needs no boto3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

from watcher.aws.clients import AwsOptions


@dataclass(frozen=True)
class Conditions:
    """Which conditions of a put the store enforces; the default is what Amazon's does."""

    if_none_match: bool = True
    """A put of a new key fails where there is one already."""
    if_match: Literal["", "quoted", "unquoted"] = "quoted"
    """A put over a version fails where it is another one by now, if its ETag is written like this; "": never."""

    def for_version(self, version: str) -> dict[str, str]:
        """Arguments of a request that is to meet this version and no other; none where that cannot be told."""
        if not version or not self.if_match:
            return {}
        return {"IfMatch": f'"{version}"' if self.if_match == "quoted" else version}

    def for_nothing(self) -> dict[str, str]:
        """Arguments of a put that is to meet no object at its key."""
        return {"IfNoneMatch": "*"} if self.if_none_match else {}


NOTHING_ENFORCED = Conditions(False, "")


@dataclass(frozen=True)
class PutOptions:
    """What outputs are stored with; empty is the bucket's default."""

    storage_class: str = ""
    kms_key: str = ""
    tags: str = ""
    """NAME=VALUE pairs with commas between them."""
    acl: str = ""
    """The name of a canned ACL."""

    def of_output(self) -> dict[str, str]:
        """Arguments of an output's put."""
        arguments = {"StorageClass": self.storage_class, "ACL": self.acl, "Tagging": _encoded(self.tags)}
        return {name: value for name, value in arguments.items() if value} | self._encryption()

    def of_record(self) -> dict[str, str]:
        """Arguments of a record's put: what the bucket's policy may demand of every object, and no more.

        Records are small, which some storage classes make dear, and not for everyone who may see outputs.
        """
        return ({"ACL": self.acl} if self.acl.startswith("bucket-owner") else {}) | self._encryption()

    def _encryption(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}


def _encoded(tags: str) -> str:
    pairs = [pair.partition("=") for pair in tags.split(",") if pair.strip()]
    return urlencode([(name.strip(), value.strip()) for name, _, value in pairs])


@dataclass(frozen=True)
class S3Config:
    """All that a bucket is opened with."""

    aws: AwsOptions = field(default_factory=AwsOptions)
    put: PutOptions = field(default_factory=PutOptions)
    conditions: Conditions | None = None
    """What `s3_probe.probe` has found out; None is what Amazon's store enforces, and nothing of any other."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> S3Config:
        """What `dataclasses.asdict` has made of one."""
        conditions = values["conditions"]
        return cls(
            AwsOptions(**values["aws"]),
            PutOptions(**values["put"]),
            Conditions(**conditions) if conditions is not None else None,
        )
