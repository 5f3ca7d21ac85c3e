"""What a store makes of conditions, found out by trying: some refuse them, and some ignore them without a word."""

from __future__ import annotations

import secrets
from typing import Literal

import structlog
from botocore.exceptions import ClientError

from watcher.aws.clients import translated
from watcher.aws.errors import status_of
from watcher.core.errors import Unavailable
from watcher.stores.base import MARKS, Store
from watcher.stores.s3 import S3Store
from watcher.stores.s3_config import Conditions
from watcher.stores.s3_keys import etag_of

PROBES = f"{MARKS}probe-"
"""What the keys of probes start with, below the store's prefix."""
_REFUSALS = (400, 404, 405, 409, 412, 501)
"""What a condition may be answered with that does not hold, or that the store does not know."""
_NO_ETAG = "0" * 32
_STYLES: tuple[Literal["quoted"], Literal["unquoted"]] = ("quoted", "unquoted")

log = structlog.get_logger(__name__)


def probe(store: Store) -> Conditions:
    """Find out what a bucket's store enforces, by a few small puts with the options of an output.

    Raises Unavailable, which it is too when outputs cannot be written like that.
    """
    assert isinstance(store, S3Store)
    key = PROBES + secrets.token_hex(8)
    with translated(f"probing {store.address(key)}"):
        prober = _Prober(store, key)
        try:
            return Conditions(prober.knows_absence(), prober.match_style())
        finally:
            _clean_up(store, key)


class _Prober:
    """A condition is enforced if a put is let through that meets it, and one refused that does not."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._client, self._place, self._options = store.client, store.place(key), store.options.of_output()
        self._etag = ""

    def knows_absence(self) -> bool:
        """Whether `If-None-Match: *` is enforced. Afterwards there is an object, at any rate."""
        if self._passes(IfNoneMatch="*"):
            return not self._passes(IfNoneMatch="*")
        self._put()
        return False

    def match_style(self) -> Literal["", "quoted", "unquoted"]:
        """How an ETag must be written for `If-Match` to be enforced: Ceph 16 finds the quotes that it gave unlike."""
        for style in _STYLES:
            condition = Conditions(if_match=style).for_version
            if not self._passes(**condition(_NO_ETAG)) and self._passes(**condition(self._etag)):
                return style
        return ""

    def _passes(self, **condition: str) -> bool:
        try:
            self._put(**condition)
        except ClientError as error:
            if status_of(error.response) in _REFUSALS:
                return False
            raise
        return True

    def _put(self, **condition: str) -> None:
        answer = self._client.put_object(**self._place, Body=b"probe", **self._options, **condition)
        self._etag = etag_of(answer)  # encrypted objects get another one each time


def _clean_up(store: S3Store, key: str) -> None:
    try:
        store.delete(key)
    except Unavailable as error:
        log.warning("probe_left", key=key, problem=str(error), cure="remove it by hand; it holds nothing")
