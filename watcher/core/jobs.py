"""The values that sources, queues, stores and workers share. No I/O and no clocks."""

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
    """The output was written."""
    ALREADY_DONE = "already_done"
    """The sink already has this job's output."""
    STALE = "stale"
    """The image was replaced by another version, which is a job of its own."""
    GONE = "gone"
    """The image was deleted."""
    REJECTED = "rejected"
    """The image can never work; see `Reason`."""


class Mode(StrEnum):
    """Which half of the system runs, and for how long."""

    RUN = "run"
    """Both halves, until stopped."""
    ONCE = "once"
    """Both halves, until every image is finished."""
    WATCH = "watch"
    """Finds images, until stopped."""
    WORK = "work"
    """Makes outputs, until stopped."""

    @property
    def watches(self) -> bool:
        """Whether this process finds images."""
        return self is not Mode.WORK

    @property
    def works(self) -> bool:
        """Whether this process makes outputs."""
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
    """When it was last written, as Unix time; 0 if unknown."""


@dataclass(frozen=True, slots=True)
class Job:
    """One output to make from one image. Jobs with the same id have the same output, which is made once."""

    id: str
    ref: ImageRef
    output: str
    """The output's key in the sink."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an output records besides its job. Not part of the job's id, because it is known only afterwards."""

    matte_coverage: float
    """Mean alpha, from 0 (everything was removed) to 1 (nothing was removed)."""

    @property
    def matte_coverage_text(self) -> str:
        """As outputs record it: a decimal with four digits.

        >>> Facts(1 / 3).matte_coverage_text
        '0.3333'
        """
        return f"{self.matte_coverage:.4f}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines an output besides the image. The supervisor computes it once, without torch."""

    source: str
    """The source's URI."""
    model: str
    """Digest of the model's weights."""
    options: Mapping[str, str | int | float | bool]
    """Every option that changes an output's bytes."""
    output_name: str = "{dir}{stem}.png"

    def job(self, ref: ImageRef) -> Job:
        """The job that makes the output of an image."""
        return Job(self.job_id(ref), ref, output_key(self.output_name, ref.key))

    def job_id(self, ref: ImageRef) -> str:
        """SHA-256 over source, key, version, model, options and output name, as 64 hex digits."""
        words = [self.source, ref.key, ref.version, self.model, dict(self.options), self.output_name]
        return hashlib.sha256(json.dumps(words, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def output_key(pattern: str, key: str) -> str:
    """The output's key for a source key. `{dir}` ends in a slash or is empty; `{ext}` has no dot.

    >>> output_key("{dir}{stem}.png", "a/x.jpg")
    'a/x.png'
    """
    directory, slash, name = key.rpartition("/")
    stem, _, ext = name.rpartition(".")
    return pattern.format(dir=directory + slash, stem=stem or name, ext=ext, name=name)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an image can never work; `detail` names the remedy in one or two sentences."""

    reason: Reason
    detail: str

    @classmethod
    def parse(cls, reason: str, detail: str) -> Rejection:
        """Read a stored rejection. A reason of another version becomes OTHER, and `detail` starts with its name."""
        known = Reason.parse(reason)
        return cls(known, detail if known == reason else f"{reason}: {detail}")


DEATHS_TO_QUARANTINE = 3
"""After this many deaths of a worker that processed nothing else, an image is rejected."""
KILLS_WORKER = Rejection(
    Reason.KILLS_WORKER,
    f"A worker died {DEATHS_TO_QUARANTINE} times while this image was the only one it processed. "
    "See the worker's log for the cause; once it is fixed, process the image again with `alphadrop retry`.",
)


class Lease(Protocol):
    """A worker's exclusive claim on a job, ended by exactly one of `done`, `release` and `reject`."""

    @property
    def job(self) -> Job:
        """The leased job."""
        ...

    @property
    def alone(self) -> bool:
        """Whether the job must run alone, because a worker that held it died; the queue leases no other meanwhile."""
        ...

    @property
    def suspect(self) -> bool:
        """Whether an earlier consumer may have crashed on it unseen: then it is decoded alone; see `crash_markers`."""
        ...

    @property
    def found_at(self) -> float:
        """When the job was enqueued, as Unix time."""
        ...

    def done(self, outcome: Outcome) -> None:
        """End the job: its output is written, or there is nothing to do."""
        ...

    def release(self, delay: float = 0.0) -> None:
        """Requeue the job for any worker; it is not leased again for `delay` seconds."""
        ...

    def reject(self, rejection: Rejection) -> None:
        """End the job for good: record the reason, and do not lease it again until it is retried."""
        ...
