"""The words that sources, queues, stores and workers share. Values only: no I/O, no clocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What became of an image."""

    WRITTEN = "written"
    ALREADY_DONE = "already_done"
    STALE = "stale"
    GONE = "gone"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One version of one image: `key` is its path below the source, with forward slashes.

    `version` is opaque and changes whenever the bytes may have: size, mtime and inode of a file; versionId or ETag of
    an object on S3.
    """

    key: str
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class Job:
    """One image to be made into one output. Same id, same output: never done twice."""

    id: str
    ref: ImageRef
    output: str
    """The output's key in the sink."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides an output besides the image: computed once, by the supervisor, without torch."""

    source: str
    """The source's URI."""
    model: str
    """The digest of the model's weights."""
    options: Mapping[str, str | int | float | bool]
    """Every option that changes an output's bytes."""
    output_name: str = "{dir}{stem}.png"

    def job(self, ref: ImageRef) -> Job:
        """The job that makes `ref` into an output."""
        return Job(self.job_id(ref), ref, output_key(self.output_name, ref.key))

    def job_id(self, ref: ImageRef) -> str:
        """sha256 over source, key, version, model, options and output name, as 64 hex digits."""
        words = [self.source, ref.key, ref.version, self.model, dict(self.options), self.output_name]
        return hashlib.sha256(json.dumps(words, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def output_key(pattern: str, key: str) -> str:
    """The output's key for a source key: `{dir}` ends in a slash or is empty, `{ext}` has no dot.

    >>> output_key("{dir}{stem}.png", "a/x.jpg")
    'a/x.png'
    """
    directory, slash, name = key.rpartition("/")
    stem, _, ext = name.rpartition(".")
    return pattern.format(dir=directory + slash, stem=stem or name, ext=ext, name=name)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an image can never work: `reason` is a short machine word, `detail` a sentence that says what to do."""

    reason: str
    detail: str


class Lease(Protocol):
    """A job that this worker holds. Exactly one of `done`, `release` and `reject` ends it."""

    @property
    def job(self) -> Job:
        """What is to be made."""
        ...

    @property
    def alone(self) -> bool:
        """True for a suspect: a worker died while it held this job, so nothing else may be in flight beside it."""
        ...

    @property
    def found_at(self) -> float:
        """When the job was put, as Unix time."""
        ...

    def extend(self) -> None:
        """Keep the lease from running out, where leases run out."""
        ...

    def done(self, outcome: Outcome) -> None:
        """The job has ended well, or there is nothing left to do."""
        ...

    def release(self, delay: float = 0.0) -> None:
        """Give the job back unharmed: someone may take it again, not before `delay` seconds have passed."""
        ...

    def reject(self, rejection: Rejection) -> None:
        """The job can never work: keep the reason, do not hand it out again until it is retried."""
        ...
