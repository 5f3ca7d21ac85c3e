"""Notifications for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from watcher.core.jobs import ImageRef, Job, Rejection
from watcher.core.notification import Matte, Notification, OutputFile
from watcher.core.reasons import Reason
from watcher.notify.writer import NotificationWriter

WRITER = NotificationWriter("s3://shop/in/", "s3://shop/out/", "nano", "ab" * 32)
BROKEN = Rejection(Reason.TRUNCATED, "The file ends early: copy it again.")


def job(key: str, version: str = "1") -> Job:
    """A job of that version of an image."""
    return Job(f"{key!a}@{version}", ImageRef(key, version, 10), f"{key}.png")


def done(key: str, version: str = "1", *, at: float | None = None) -> Notification:
    """The notification that an image is done; `at` is when it was finished."""
    output = OutputFile(name="cutout", key=f"{key}.png", format="png", bytes=1234, width=60, height=40)
    made = WRITER.done(job(key, version), 0.0, [output], Matte(0.25))
    return made if at is None else made.model_copy(update={"time": datetime.fromtimestamp(at, UTC)})


def rejected(key: str, version: str = "1") -> Notification:
    """The notification that an image is rejected."""
    return WRITER.rejected(job(key, version), BROKEN, 0.0)
