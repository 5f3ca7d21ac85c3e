"""What a store does. A source's store is listed and read; a sink's store is asked and written to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from watcher.core.jobs import Facts, ImageRef, Job

FAILED = "_failed/"
"""Error records live below this prefix of the sink, as `_failed/<source key>.json`."""
MARKS = "_alphadrop/"
"""Small objects that alphadrop itself needs live below this prefix of the sink."""

LARGEST = 512 * 2**20
"""Bytes of an image that are read into memory; whoever may write into a source could fill that up otherwise."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an output says of itself; None where it does not (somebody else's file)."""

    job: str | None
    source_key: str | None
    """As `stamp.source_text` writes it."""
    version: str = field(default="", compare=False)
    """Which version of the output says so, where a `put` can be told to replace that one only."""


def is_made_by(held: Held | None, job: Job) -> bool:
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

    def held(self, key: str) -> Held | None:
        """Which job the output at `key` was made by; None where there is no whole output."""
        ...

    def put(self, job: Job, data: bytes, over: Held | None, facts: Facts | None = None) -> None:
        """Make `data`, which carries the job's id and the facts, the output of the job: durable, whole or not at all.

        `over` is what `held` has said of the output. Raises Conflict where it is another one by now, if the store can
        tell; whoever asks must then look again. A store that keeps words beside its objects keeps `facts` there too.
        """
        ...

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object (an error record), whole or not at all."""
        ...

    def recorded_at(self, key: str) -> str:
        """The key at which `put_record(key)` puts a record: itself, or one close to it where that cannot be."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def sweep(self) -> int:
        """Remove what dead writers have left behind; how many pieces that were."""
        ...
