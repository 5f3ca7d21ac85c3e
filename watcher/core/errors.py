"""What can go wrong around an image.

WatcherError
├── ConfigurationError   the user must change something; the message says what (exit code 2)
├── Rejected             this image can never work; it is quarantined with an error record
├── Unavailable          the world is in trouble: back off and try again, never blame the image
│   ├── SourceMissing    the source's root is not there (unmounted, renamed, deleted; a bucket that does not exist)
│   ├── Throttled        the service asks for fewer requests
│   └── Denied           credentials are missing, have run out or do not suffice
├── Gone                 the image does not exist any more
├── Stale                the image has changed since it was found
├── Conflict             the output has changed since it was looked at
└── NotAnEvent           a message that says nothing we understand
"""

from __future__ import annotations

from watcher.core.jobs import Rejection
from watcher.core.reasons import Reason


class WatcherError(Exception):
    """Base of all that the watcher raises on purpose."""

    reason = "error"
    """The name of this kind of error in log lines, traces and labels of metrics."""
    public = "something has failed; the log says what"
    """What strangers may read of it, on /readyz: names of objects and files are for the log alone."""


class ConfigurationError(WatcherError):
    """The settings cannot work; the message says what to change."""

    public = "a setting cannot work; the log says which"
    reason = "configuration"


class Rejected(WatcherError):
    """This image can never work."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.rejection = Rejection(reason, detail)


class Unavailable(WatcherError):
    """Storage, queue or disk is in trouble; the same call may work later."""

    reason = "unavailable"
    public = "storage or queue is in trouble; the log says more"

    def __init__(self, text: str, public: str = "") -> None:
        """`public` is what may be known outside; else what holds for all errors of this kind."""
        super().__init__(text)
        self.public = public or self.public


class SourceMissing(Unavailable):
    """The source's root is not there, which never means that its images were deleted."""

    reason = "source_missing"
    public = "the folder or bucket does not exist, or is not mounted"


class Throttled(Unavailable):
    """The service asks for fewer requests."""

    reason = "throttled"
    public = "the service asks for fewer requests"


class Denied(Unavailable):
    """The service does not take these credentials, or not for this; somebody may mend that while we wait."""

    reason = "denied"
    public = "access is denied; the log says to what"


class Gone(WatcherError):
    """The image does not exist any more."""


class Stale(WatcherError):
    """The image is not the version that was asked for."""


class Conflict(WatcherError):
    """The output has changed since it was looked at: whoever was faster may have done the same job."""


class NotAnEvent(WatcherError):
    """A message that says nothing we understand; the text says what is wrong with it."""


def public(error: Exception) -> str:
    """What strangers may read of any error: of one that nobody expected, no more than its kind."""
    return error.public if isinstance(error, WatcherError) else f"{type(error).__name__}; the log says more"
