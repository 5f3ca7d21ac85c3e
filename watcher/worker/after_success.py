"""What becomes of an image in a bucket when its output is durable: it is kept, tagged, moved or deleted."""

from __future__ import annotations

from collections.abc import Callable

from watcher.core.errors import ConfigurationError
from watcher.core.jobs import ImageRef
from watcher.stores.base import Store

TAG = ("alphadrop", "done")


def success_action(after: str, source: Store) -> Callable[[ImageRef], None]:
    """What the setting `after` does to an image. The action may raise Gone, Stale or Unavailable.

    It touches only the version that the output was made from, and may be repeated. Raises ConfigurationError where
    the source is not a bucket.
    """
    action, _, prefix = after.partition(":")
    if action == "keep":
        return lambda ref: None
    from watcher.stores.s3 import S3Store  # loads boto3, which a folder does without

    if not isinstance(source, S3Store):
        raise ConfigurationError(f"--after {after} needs a bucket as the source: use --after keep for a folder.")
    if action == "tag":
        return lambda ref: source.tag(ref, *TAG)
    if action == "move":
        return lambda ref: source.move(ref, prefix)
    return source.delete_version
