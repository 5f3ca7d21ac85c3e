"""The notifications that other systems get when an image is finished. docs/notifications.md describes it for them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, field_validator

FORMAT_VERSION = 1
"""Raised only by a change that an existing receiver would not understand; new fields and types are no such change."""


class NotificationType(StrEnum):
    """What has happened."""

    IMAGE_DONE = "image.done"
    """All outputs of the image are durable."""
    IMAGE_REJECTED = "image.rejected"
    """The image can never work, and has an error record."""
    TEST = "test"
    """`alphadrop doctor` checks the receiver; nothing has happened."""


class OutputFile(BaseModel):
    """One output of an image."""

    model_config = ConfigDict(frozen=True)

    name: str
    """Its name in the settings."""
    key: str
    """Its path below the sink."""
    format: str
    """`png`, `jpeg` and so on."""
    bytes: int | None = None
    """Its size. This and the fields below are None where it was there before this run."""
    width: int | None = None
    height: int | None = None
    box: tuple[int, int, int, int] | None = None
    """Where the object is: left, top, right and bottom in pixels, the last two exclusive; None if it is empty, too."""
    sha256: str | None = None
    """Of its bytes, in hex digits; None unless there is a manifest, which wants it as well."""

    @field_validator("sha256")
    @classmethod
    def _unknown(cls, digest: str | None) -> str | None:
        return digest or None


@dataclass(frozen=True, slots=True)
class Matte:
    """What is known of the matte from which the outputs were made."""

    matte_coverage: float
    """Mean alpha of the cut-out, 0..1."""
    confidence: float | None = None
    """How sure it is, 0..1; None where no model made it."""
    doubts: tuple[str, ...] | None = None
    """Why it may be wrong; None where no model made it."""
    made_by: str | None = None
    """The model that made it, and the start of its digest: in a cascade, one of two."""
    other_confidence: float | None = None
    """In a cascade, of the other model's matte, which was less sure; None where only one model ran."""


class Notification(BaseModel):
    """One image is finished. A field that does not apply, or is not known, is None and left out of the message."""

    model_config = ConfigDict(frozen=True)

    version: int = FORMAT_VERSION
    id: str
    """The same each time that this notification is sent: 32 hex digits."""
    type: NotificationType
    time: datetime
    """When the image was finished."""
    source: str
    """The source's address."""
    key: str
    """The image's path below the source."""
    source_version: str
    """Which version of the image it was; see `ImageRef.version`."""
    job: str
    """The job's id, which the outputs contain as well."""
    sink: str
    """The sink's address."""
    outputs: tuple[OutputFile, ...] = ()
    """All outputs of the image; empty if it was rejected."""
    model: str
    """The name of the model."""
    model_digest: str
    """SHA-256 of the model's weights."""
    matte_coverage: float | None = None
    """See `Matte`, as of the fields below. None where another process made the outputs."""
    confidence: float | None = None
    doubts: tuple[str, ...] | None = None
    made_by: str | None = None
    other_confidence: float | None = None
    reason: str | None = None
    """Why the image was rejected: a value of `Reason`."""
    detail: str | None = None
    """The same in a sentence or two, with the remedy."""

    def body(self) -> bytes:
        """The message: JSON in ASCII, since a file's name may hold bytes that are not UTF-8."""
        return json.dumps(self.model_dump(mode="python", exclude_none=True), default=_encode).encode("ascii")


def notification_id(job: str, kind: NotificationType, found_at: float) -> str:
    """The id of a notification: the same when a job is finished twice because a worker died in between.

    `found_at` distinguishes a retried or repeated job from its earlier run.
    """
    return hashlib.sha256(f"{job} {kind} {found_at:.6f}".encode()).hexdigest()[:32]


def now() -> datetime:
    """The present time in UTC, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _encode(value: object) -> str:
    assert isinstance(value, datetime)
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
