"""What a store does. A source's store is listed and read; a sink's store is asked and written to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from watcher.work import ImageRef, Job

FAILED = "_failed/"
"""Error records live below this prefix of the sink, as `_failed/<source key>.json`."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an output says of itself; None where it does not (somebody else's file)."""

    job: str | None
    source_key: str | None


class Store(Protocol):
    """Objects by key. Every method may raise `Unavailable`; all are safe to call from several threads."""

    @property
    def uri(self) -> str:
        """The absolute address, the same for every way to write it."""
        ...

    def list(self) -> Iterator[ImageRef]:
        """Every object of the store, in no given order. Raises SourceMissing rather than yield nothing."""
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

    def put(self, job: Job, data: bytes) -> None:
        """Make `data`, which carries the job's id, the output of the job: durable, and whole or not at all."""
        ...

    def put_record(self, key: str, data: bytes) -> None:
        """Write a small object (an error record), whole or not at all."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...
