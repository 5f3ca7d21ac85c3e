"""Finds out by trying which conditional writes an S3 service enforces: some refuse them, some silently ignore them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from botocore.exceptions import ClientError

from watcher.aws.errors import status_of
from watcher.stores.base import INTERNAL_PREFIX
from watcher.stores.s3_config import ConditionalWrites
from watcher.stores.s3_keys import etag_of

PROBE_PREFIX = f"{INTERNAL_PREFIX}probe-"
"""Probe objects have keys that start with this, below the store's prefix."""
_REFUSALS = (400, 404, 405, 409, 412, 501)
"""Statuses with which services answer a condition that is not met, or that they do not support."""
_NO_ETAG = "0" * 32
_STYLES: tuple[Literal["quoted"], Literal["unquoted"]] = ("quoted", "unquoted")


class ConditionProbe:
    """Tests conditions at one key: one is enforced if a put that meets it succeeds and one that does not is refused."""

    def __init__(self, client: Any, place: Mapping[str, str], options: Mapping[str, str]) -> None:
        """`client` is boto3's; `place` is the bucket and a free key; `options` are arguments of every put."""
        self._client, self._place, self._options = client, place, options
        self._etag = ""

    @property
    def has_written(self) -> bool:
        """Whether a put has succeeded."""
        return bool(self._etag)

    def run(self) -> ConditionalWrites:
        """Test every condition. Leaves an object at the key. Raises what boto3 raises."""
        return ConditionalWrites(self._enforces_absence(), self._match_style())

    def _enforces_absence(self) -> bool:
        """Whether `If-None-Match: *` is enforced. Afterwards the object exists, whatever the answer."""
        if self._put_succeeds(IfNoneMatch="*"):
            return not self._put_succeeds(IfNoneMatch="*")
        self._put()
        return False

    def _match_style(self) -> Literal["", "quoted", "unquoted"]:
        """How an ETag must be written for `If-Match` to be enforced: Ceph 16 rejects the quotes that it sends."""
        for style in _STYLES:
            condition = ConditionalWrites(if_match=style).for_version
            if not self._put_succeeds(**condition(_NO_ETAG)) and self._put_succeeds(**condition(self._etag)):
                return style
        return ""

    def _put_succeeds(self, **condition: str) -> bool:
        try:
            self._put(**condition)
        except ClientError as error:
            if status_of(error.response) in _REFUSALS:
                return False
            raise
        return True

    def _put(self, **condition: str) -> None:
        answer = self._client.put_object(**self._place, Body=b"probe", **self._options, **condition)
        self._etag = etag_of(answer)  # an encrypted object gets a new ETag at each put
