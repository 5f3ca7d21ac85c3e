"""What becomes of an image in a bucket when its output is durable: it is kept, tagged, moved or deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from watcher.core.jobs import ImageRef
from watcher.stores.base import Store

if TYPE_CHECKING:
    from watcher.stores.s3 import S3Store

TAG = ("alphadrop", "done")


def aftercare(after: str, source: Store) -> Callable[[ImageRef], None]:
    """What to do to each image, by the setting `after`. It may raise Gone, Stale or Unavailable.

    Only that version is touched for which the output stands; doing it twice does no harm.
    """
    word, _, prefix = after.partition(":")
    if word == "keep":
        return lambda ref: None
    bucket = cast("S3Store", source)  # `check_places` has seen to it
    if word == "tag":
        return lambda ref: bucket.tag(ref, *TAG)
    if word == "move":
        return lambda ref: bucket.move(ref, prefix)
    return bucket.remove
