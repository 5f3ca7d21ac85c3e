"""Writes the notifications of finished images."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from watcher.core.jobs import Job, Rejection
from watcher.core.notification import Matte, Notification, NotificationType, OutputFile, notification_id, now


@dataclass(frozen=True, slots=True)
class NotificationWriter:
    """What all notifications of a daemon have in common."""

    source: str
    sink: str
    model: str
    model_digest: str

    def done(self, job: Job, found_at: float, outputs: Sequence[OutputFile], matte: Matte | None) -> Notification:
        """The notification that all outputs of a job are durable; `found_at` is `Lease.found_at`."""
        known = asdict(matte) if matte else {}
        return self._about(job, NotificationType.IMAGE_DONE, found_at, outputs=tuple(outputs), **known)

    def rejected(self, job: Job, rejection: Rejection, found_at: float) -> Notification:
        """The notification that an image is rejected."""
        kind = NotificationType.IMAGE_REJECTED
        return self._about(job, kind, found_at, reason=rejection.reason, detail=rejection.detail)

    def _about(self, job: Job, kind: NotificationType, found_at: float, **details: Any) -> Notification:
        """A notification of a job's end, with what only this type says."""
        return Notification(
            id=notification_id(job.id, kind, found_at),
            type=kind,
            time=now(),
            source=self.source,
            key=job.ref.key,
            source_version=job.ref.version,
            job=job.id,
            sink=self.sink,
            model=self.model,
            model_digest=self.model_digest,
            **details,
        )

    def test(self) -> Notification:
        """A notification of nothing, with which `doctor` tries a webhook."""
        return Notification(
            id=secrets.token_hex(16),
            type=NotificationType.TEST,
            time=now(),
            source=self.source,
            key="",
            source_version="",
            job="",
            sink=self.sink,
            model=self.model,
            model_digest=self.model_digest,
        )
