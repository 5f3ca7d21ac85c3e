"""The interface of a store: a source's is listed and read; a sink's is listed, queried and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Facts, ImageRef, Output
from watcher.stores.s3_config import ConditionalWrites

FAILED_PREFIX = "_failed/"
"""Prefix of error records in the sink: `_failed/<source key>.json`."""
INTERNAL_PREFIX = "_alphadrop/"
"""Prefix of the small objects that alphadrop itself keeps in the sink."""

MAX_IMAGE_BYTES = 512 * 2**20
"""Largest image that is read: anybody who can write into a source could otherwise fill the memory."""


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """Which output a file is, and of which image. Both are None if alphadrop did not write the file."""

    id: str | None
    """The `Output.id` that it records."""
    source_key: str | None
    """As `output_metadata.recorded_source` writes it."""
    version: str = field(default="", compare=False)
    """The output's version, for a conditional write; "" if the store has none."""
    root: str = field(default="", compare=False)
    """The fingerprint of its source; "" in outputs of versions that did not record it."""


def is_output(info: OutputInfo | None, output: Output) -> bool:
    """Whether the file that `info` describes is this output; None is no file."""
    return info is not None and info.id == output.id


class Store(Protocol):
    """Objects by key. Every method may raise `Unavailable`; all are safe to call from several threads."""

    @property
    def uri(self) -> str:
        """The absolute address in its canonical form."""
        ...

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every object whose key starts with `below` ("" or ending in a slash), in the order of the keys' UTF-8.

        Memory does not grow with the number of objects. Raises SourceMissing if the root does not exist.
        """
        ...

    def stat(self, key: str) -> ImageRef | None:
        """The object's current version; None if there is no object."""
        ...

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of exactly that version. Raises Gone or Stale."""
        ...

    def output_info(self, key: str) -> OutputInfo | None:
        """Which output is at `key`; None if there is no complete one."""
        ...

    def put(self, output: Output, data: bytes, over: OutputInfo | None, facts: Facts | None = None) -> None:
        """Store `data`, which records the output's id and the facts, at the output's key: durably and atomically.

        `over` is what `output_info` returned. Raises Conflict if the output has changed since, where the store enforces
        conditional writes: then ask again. A store that has metadata keeps `facts` there, too.
        """
        ...

    def put_image(self, key: str, data: bytes) -> ImageRef:
        """Write an image into a source as a user would: durably, atomically, over another one at that key.

        Raises Rejected if no object can have this key.
        """
        ...

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object, such as an error record, atomically."""
        ...

    def record_location(self, key: str) -> str:
        """The key at which `put_record(key)` stores a record: `key`, or one close to it that the store allows."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        ...

    def probe_conditional_writes(self) -> ConditionalWrites | None:
        """Find out which conditional writes the store enforces; None for a folder, which has only one writer."""
        ...

    def sweep(self) -> int:
        """Delete the temporary files that crashed writers have left; returns how many."""
        ...
