"""The interface of a store: a source's is listed and read; a sink's is listed, queried and written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Facts, ImageRef, Job
from watcher.stores.s3_config import ConditionalWrites

FAILED_PREFIX = "_failed/"
"""Prefix of error records in the sink: `_failed/<source key>.json`."""
INTERNAL_PREFIX = "_alphadrop/"
"""Prefix of the small objects that alphadrop itself keeps in the sink."""

MAX_IMAGE_BYTES = 512 * 2**20
"""Largest image that is read: anybody who can write into a source could otherwise fill the memory."""


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """Which job and which image made an output. Both are None if alphadrop did not write the file."""

    job: str | None
    source_key: str | None
    """As `output_metadata.recorded_source` writes it."""
    version: str = field(default="", compare=False)
    """The output's version, for a conditional write; "" if the store has none."""


def is_output_of(info: OutputInfo | None, job: Job) -> bool:
    """Whether this job made the output that `info` describes; None is no output."""
    return info is not None and info.job == job.id


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
        """Which job made the output at `key`; None if there is no complete output."""
        ...

    def put(self, job: Job, data: bytes, over: OutputInfo | None, facts: Facts | None = None) -> None:
        """Make `data`, which holds the job's id and the facts, the output of the job: durable, and atomically.

        `over` is what `output_info` returned. Raises Conflict if the output has changed since, where the store enforces
        conditional writes: then ask again. A store that has metadata keeps `facts` there, too.
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
