"""Reports of a sender of notifications."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class SendResult(StrEnum):
    """What became of one attempt to deliver a notification; a label of metrics."""

    DELIVERED = "delivered"
    """The receiver has it."""
    FAILED = "failed"
    """It will be sent again."""
    SET_ASIDE = "set_aside"
    """The receiver has refused it too often, so that it is not sent again by itself."""


class Progress(BaseModel):
    """What a sender has done since its last report, and what is left to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: dict[SendResult, int] = {}
    """Attempts since the last report, by result."""
    delays: tuple[float, ...] = ()
    """For each that was delivered, the seconds since its image was finished."""
    pending: int | None = None
    """Notifications that are still to be delivered; None where that is not known at present."""
    oldest: float | None = None
    """When the image of the oldest of them was finished, as Unix time; None where nothing is pending."""
