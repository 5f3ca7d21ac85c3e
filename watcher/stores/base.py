"""What a store does. A source's store is listed and read; a sink's store is asked and written to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Facts, ImageRef, Job
from watcher.stores.s3_config import ConditionalWrites

FAILED_PREFIX = "_failed/"
"""Error records live below this prefix of the sink, as `_failed/<source key>.json`."""
INTERNAL_PREFIX = "_alphadrop/"
"""Small objects that alphadrop itself needs live below this prefix of the sink."""

MAX_IMAGE_BYTES = 512 * 2**20
"""Bytes of an image that are read into memory; whoever may write into a source could fill that up otherwise."""


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """What an output says of itself; None where it does not (somebody else's file)."""

    job: str | None
    source_key: str | None
    """As `output_metadata.recorded_source` writes it."""
    version: str = field(default="", compare=False)
    """Which version of the output says so, where a `put` can be told to replace that one only."""


def is_output_of(held: OutputInfo | None, job: Job) -> bool:
    """Whether an output, of which `held` was said, was made by that very job."""
    return held is not None and held.job == job.id


class Store(Protocol):
    """Objects by key. Every method may raise `Unavailable`; all are safe to call from several threads."""

    @property
    def uri(self) -> str:
        """The absolute address, the same for every way to write it."""
        ...

    def list(self, below: str = "") -> Iterator[ImageRef]:
        """Every object whose key starts with `below` (empty, or ending in a slash), in the order of the keys' UTF-8.

        Memory does not grow with the number of objects. Raises SourceMissing rather than yield nothing.
        """
        ...

    def stat(self, key: str) -> ImageRef | None:
        """The object's present version, None where there is none."""
        ...

    def read(self, ref: ImageRef) -> bytes:
        """The bytes of exactly that version. Raises Gone or Stale."""
        ...

    def output_info(self, key: str) -> OutputInfo | None:
        """Which job the output at `key` was made by; None where there is no whole output."""
        ...

    def put(self, job: Job, data: bytes, over: OutputInfo | None, facts: Facts | None = None) -> None:
        """Make `data`, which carries the job's id and the facts, the output of the job: durable, whole or not at all.

        `over` is what `held` has said of the output. Raises Conflict where it is another one by now, if the store can
        tell; whoever asks must then look again. A store that keeps words beside its objects keeps `facts` there too.
        """
        ...

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object (an error record), whole or not at all."""
        ...

    def record_location(self, key: str) -> str:
        """The key at which `put_record(key)` puts a record: itself, or one close to it where that cannot be."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def probe_conditional_writes(self) -> ConditionalWrites | None:
        """Find out which conditional writes the store enforces; None for a folder, which has only one writer."""
        ...

    def sweep(self) -> int:
        """Remove what dead writers have left behind; how many pieces that were."""
        ...
