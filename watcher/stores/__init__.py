"""Stores hold images, outputs and records. To add one, write a module and open it here."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from watcher.aws.clients import is_amazon, make_client
from watcher.core.counts import Counts
from watcher.stores.base import Store
from watcher.stores.local import LocalStore
from watcher.stores.s3_config import NO_CONDITIONAL_WRITES, ConditionalWrites, PutOptions, S3Config

__all__ = ["ConditionalWrites", "PutOptions", "S3Config", "open_store"]


def open_store(uri: str, s3: S3Config | None = None, counts: Counts | None = None) -> Store:
    """Open the store of a `file://` or `s3://` URI. Raises ConfigurationError."""
    if uri.startswith("s3://"):
        return _open_bucket(uri, s3 or S3Config(), counts or Counts())
    return LocalStore(Path(unquote(urlsplit(uri).path)))


def _open_bucket(uri: str, config: S3Config, counts: Counts) -> Store:
    from watcher.stores.s3 import S3Store  # imports boto3, which a folder does not need

    client = make_client("s3", config.aws, counts)
    assumed = ConditionalWrites() if is_amazon(client) else NO_CONDITIONAL_WRITES
    return S3Store(uri, client, config.put, config.conditional_writes or assumed)
