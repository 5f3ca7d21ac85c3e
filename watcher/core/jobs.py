"""The values that sources, queues, stores and workers share. No I/O and no clocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from inference.review.doubts import Review
from watcher.core.reasons import Reason

if TYPE_CHECKING:
    from watcher.core.notification import Notification  # pydantic, which a list of commands need not wait for

DEFAULT_PATTERN = "{dir}{stem}.png"
"""Of the keys of cut-outs, unless `--output-name` says another."""
PLAIN = "cutout"
"""The name of the output that is the cut-out as it is: a PNG of the image's size with an alpha channel."""

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


class Outcome(StrEnum):
    """What became of an image."""

    WRITTEN = "written"
    """An output was written, and all of them are durable."""
    ALREADY_DONE = "already_done"
    """The sink already has every output of this job."""
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
    """The outputs to make from one version of an image. Jobs with the same id have the same outputs, made once."""

    id: str
    ref: ImageRef
    output: str
    """The output's key in the sink; of several outputs, the key that the fewest images have to themselves. Two jobs
    with the same one are never in flight together."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a job. Outputs with the same id have the same contents, whichever job made them."""

    id: str
    ref: ImageRef
    key: str
    """Its key in the sink."""
    job: str = ""
    """The id of the job; empty if that is `id`, because the job has no other output."""
    root: str = ""
    """The fingerprint of the source; see `fingerprint`."""
    former_root: str = ""
    """The fingerprint of the source's former address, whose outputs may be replaced; empty if it has not moved."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an output records besides its id. The id does not cover it: some of it is known only afterwards."""

    matte_coverage: float
    """Mean alpha of the cut-out, from 0 (everything was removed) to 1 (nothing was removed)."""
    box: tuple[int, int, int, int] | None = None
    """Where the object is in the output: left, top, right and bottom in pixels, the last two exclusive; None if it is
    empty."""
    model: str = ""
    """The model's name, and the start of its digest."""
    options: str = ""
    """Every option that decided the output, as JSON."""
    review: Review | None = None
    """How sure the matte is; None where no model made it."""
    other: Review | None = None
    """In a cascade, the review of the other model's matte, which was less sure; None where only one model ran."""

    @property
    def matte_coverage_text(self) -> str:
        """As outputs record it: a decimal with four digits.

        >>> Facts(1 / 3).matte_coverage_text
        '0.3333'
        """
        return f"{self.matte_coverage:.4f}"

    @property
    def texts(self) -> dict[str, str]:
        """As outputs record them, by name; without those that are not known.

        >>> Facts(0.5, (1, 2, 30, 40)).texts
        {'matte_coverage': '0.5000', 'box': '1,2,30,40'}
        """
        box = ",".join(map(str, self.box)) if self.box else ""
        texts = {
            "matte_coverage": self.matte_coverage_text,
            "confidence": self.review.confidence_text if self.review else "",
            "doubts": self.review.doubts_text if self.review else "",
            "other_confidence": self.other.confidence_text if self.other else "",
            "box": box,
            "model": self.model,
            "options": self.options,
        }
        return {name: text for name, text in texts.items() if text}


@dataclass(frozen=True)
class OutputRecipe:
    """Everything that determines one output of every image, besides the image and the cut-out."""

    name: str = PLAIN
    """Its name in settings, logs and metrics."""
    pattern: str = DEFAULT_PATTERN
    """Of its keys; see `output_key`."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """Every option that changes the bytes of this output alone."""

    @property
    def folder(self) -> str:
        """The folder that every key begins with; "" or ending in a slash.

        >>> OutputRecipe(pattern="shop/{dir}{stem}.jpg").folder
        'shop/'
        """
        fixed = self.pattern.partition("{")[0]
        return fixed[: fixed.rfind("/") + 1].replace("}}", "}")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the outputs besides the image. The supervisor computes it once, without torch."""

    source: str
    """The source's URI."""
    model: str
    """Digest of the model's weights."""
    options: Mapping[str, str | int | float | bool]
    """Every option that changes the cut-out, and so the bytes of every output."""
    outputs: tuple[OutputRecipe, ...] = (OutputRecipe(),)
    """At least one; their names differ, and so do their patterns."""
    moved_from: str = ""
    """The source's former URI, empty if it has not moved. Not part of any id."""

    def job(self, ref: ImageRef) -> Job:
        """The job that makes the outputs of an image."""
        return Job(self.job_id(ref), ref, output_key(self._claimed, ref.key))

    def job_id(self, ref: ImageRef) -> str:
        """64 hex digits: the id of the only output, or a SHA-256 over those of all outputs in any order."""
        ids = [self._output_id(output, ref) for output in self.outputs]
        return ids[0] if len(ids) == 1 else _digest(sorted(ids))

    def outputs_of(self, ref: ImageRef) -> tuple[Output, ...]:
        """The outputs of an image, in the order of `outputs`."""
        job = self.job_id(ref) if len(self.outputs) > 1 else ""
        root, former = fingerprint(self.source), fingerprint(self.moved_from) if self.moved_from else ""
        return tuple(
            Output(self._output_id(output, ref), ref, output_key(output.pattern, ref.key), job, root, former)
            for output in self.outputs
        )

    def _output_id(self, output: OutputRecipe, ref: ImageRef) -> str:
        """SHA-256 over source, key, version, model, options and the pattern of the output's key, as 64 hex digits."""
        options = {**self.options, **output.options}
        return _digest([self.source, ref.key, ref.version, self.model, options, output.pattern])

    @cached_property
    def _claimed(self) -> str:
        """The pattern of `Job.output`: two images that share any output must share this key."""
        patterns = [output.pattern for output in self.outputs]
        common = frozenset.intersection(*(distinguished_by(pattern) for pattern in patterns))
        written = {"folder": "{dir}", "extension": ".{ext}"}
        shared = written["folder"] * ("folder" in common) + "{stem}" + written["extension"] * ("extension" in common)
        return next((pattern for pattern in patterns if distinguished_by(pattern) == common), shared)


@cache
def fingerprint(source: str) -> str:
    """The 16 hex digits by which outputs know their source: its URI would publish names of buckets and folders."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _digest(value: JsonValue) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def distinguished_by(pattern: str) -> frozenset[str]:
    """What makes two images of one stem different in their outputs' keys: `folder`, `extension`, both or neither.

    >>> sorted(distinguished_by("{dir}{name}.png"))
    ['extension', 'folder']
    """
    parts = {"folder": ("{dir}",), "extension": ("{ext}", "{name}")}
    return frozenset(part for part, fields in parts.items() if any(field in pattern for field in fields))


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

    def done(self, outcome: Outcome, notification: Notification | None = None) -> None:
        """End the job: its output is written, or there is nothing to do. The notification goes into the outbox."""
        ...

    def release(self, delay: float = 0.0) -> None:
        """Requeue the job for any worker; it is not leased again for `delay` seconds."""
        ...

    def reject(self, rejection: Rejection, notification: Notification | None = None) -> None:
        """End the job for good: record the reason, and do not lease it again until it is retried."""
        ...
