"""The words that sources, queues, stores and workers share. Values only: no I/O, no clocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from watcher.core.reasons import Reason


class Outcome(StrEnum):
    """What became of an image."""

    WRITTEN = "written"
    ALREADY_DONE = "already_done"
    STALE = "stale"
    GONE = "gone"
    REJECTED = "rejected"


class Mode(StrEnum):
    """Which half of the system runs, and for how long."""

    RUN = "run"
    """Both halves, until stopped."""
    ONCE = "once"
    """Both, until all that is there is done."""
    WATCH = "watch"
    """Finding images."""
    WORK = "work"
    """Making outputs."""

    @property
    def watches(self) -> bool:
        """Whether images are found."""
        return self is not Mode.WORK

    @property
    def works(self) -> bool:
        """Whether outputs are made."""
        return self is not Mode.WATCH


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One version of one image: `key` is its path below the source, with forward slashes.

    `version` is opaque and changes whenever the bytes may have: size, mtime and inode of a file; the ETag, without its
    quotes, of an object on S3.
    """

    key: str
    version: str
    size: int
    modified: float = field(default=0.0, compare=False)
    """When it was last written, as Unix time; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image to be made into one output. Same id, same output: never done twice."""

    id: str
    ref: ImageRef
    output: str
    """The output's key in the sink."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an output says of itself besides its job. No part of the job's id: it is known when the output is made."""

    matte_coverage: float
    """Mean alpha, 0 (nothing is left) to 1 (nothing was removed)."""

    @property
    def matte_coverage_text(self) -> str:
        """As outputs carry it: a decimal with four digits.

        >>> Facts(1 / 3).matte_coverage_text
        '0.3333'
        """
        return f"{self.matte_coverage:.4f}"


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
    """Why an image can never work, and in `detail` what to do about it, as one or two sentences."""

    reason: Reason
    detail: str

    @classmethod
    def parse(cls, reason: str, detail: str) -> Rejection:
        """A rejection as it was stored, by any version: where the reason is unknown, `detail` starts with its name."""
        known = Reason.parse(reason)
        return cls(known, detail if known == reason else f"{reason}: {detail}")


DEATHS_TO_QUARANTINE = 3
"""A job that was alone in a worker when the worker died, this many times, is what kills it."""
KILLS_WORKER = Rejection(
    Reason.KILLS_WORKER,
    f"A worker died {DEATHS_TO_QUARANTINE} times while this image was the only one it held. "
    "See the worker's log for the cause; once it is removed, hand the image out again with `alphadrop retry`.",
)


class Lease(Protocol):
    """A job that this worker holds. Exactly one of `done`, `release` and `reject` ends it."""

    @property
    def job(self) -> Job:
        """What is to be made."""
        ...

    @property
    def alone(self) -> bool:
        """True for what a worker held that died, where the queue sees workers die: nothing is in flight beside it."""
        ...

    @property
    def suspect(self) -> bool:
        """True for what a process may have died of that nobody saw: what may kill is done of it alone, see `peril`."""
        ...

    @property
    def found_at(self) -> float:
        """When the job was put, as Unix time."""
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
