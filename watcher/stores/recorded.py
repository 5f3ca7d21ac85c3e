"""What outputs in a sink record, as text by name."""

from __future__ import annotations

import os

from inference.compose import read_text
from watcher.core.jobs import ImageRef
from watcher.stores.base import Store
from watcher.stores.local import LocalStore
from watcher.stores.output_metadata import KEYWORD, object_texts, read_texts


def texts_of(sink: Store, ref: ImageRef) -> dict[str, str]:
    """What an output records, by name; nothing for a file that alphadrop did not write. Raises Gone or Unavailable."""
    if isinstance(sink, LocalStore):
        with open(os.path.join(sink.root, ref.key), "rb", buffering=0) as file:
            return read_texts(lambda offset, length: os.pread(file.fileno(), length, offset), ref.size)
    from watcher.stores.s3 import S3Store  # loads boto3, which a folder does without

    if isinstance(sink, S3Store) and (metadata := object_texts(sink.metadata(ref.key) or {})):
        return metadata
    text = read_text(sink.read(ref))
    return {name.removeprefix(KEYWORD): value for name, value in text.items() if name.startswith(KEYWORD)}
