"""What can go wrong around an image.

WatcherError
├── ConfigurationError   the user must change something; the message says what (exit code 2)
├── Rejected             this image can never work; it is quarantined with an error record
├── Unavailable          the world is in trouble: back off and try again, never blame the image
│   └── SourceMissing    the source's root is not there (unmounted, renamed, deleted)
├── Gone                 the image does not exist any more
└── Stale                the image has changed since it was found
"""

from __future__ import annotations

from watcher.work import Rejection


class WatcherError(Exception):
    """Base of all that the watcher raises on purpose."""


class ConfigurationError(WatcherError):
    """The settings cannot work; the message says what to change."""


class Rejected(WatcherError):
    """This image can never work."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.rejection = Rejection(reason, detail)


class Unavailable(WatcherError):
    """Storage, queue or disk is in trouble; the same call may work later."""


class SourceMissing(Unavailable):
    """The source's root is not there, which never means that its images were deleted."""


class Gone(WatcherError):
    """The image does not exist any more."""


class Stale(WatcherError):
    """The image is not the version that was asked for."""
