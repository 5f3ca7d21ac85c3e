"""The errors of the watcher.

WatcherError
├── ConfigurationError   a setting is wrong; the message says what to change (exit code 2)
├── Rejected             this image can never be processed; it is quarantined with an error record
├── Unavailable          a transient error of storage, queue or network: retry with back-off, never reject the image
│   ├── SourceMissing    the source's root is not there (unmounted, renamed, deleted; a bucket that does not exist)
│   ├── Throttled        the service demands fewer requests
│   └── Denied           credentials are missing, expired or insufficient
├── Gone                 the image no longer exists
├── Stale                the image has changed since it was discovered
├── Conflict             the output has changed since it was read
└── NotAnEvent           a message contains no known event
"""

from __future__ import annotations

from watcher.core.jobs import Rejection
from watcher.core.reasons import Reason


class WatcherError(Exception):
    """Base class of all errors that the watcher raises on purpose."""

    reason = "error"
    """The name of this kind of error in log lines, traces and labels of metrics."""
    public = "an error has occurred; the log says which"
    """The text for `/readyz`, which anyone may read: names of objects and files belong in the log only."""


class ConfigurationError(WatcherError):
    """A setting is wrong; the message says what to change."""

    public = "a setting is wrong; the log says which"
    reason = "configuration"


class Rejected(WatcherError):
    """This image can never be processed."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.rejection = Rejection(reason, detail)


class Unavailable(WatcherError):
    """Storage, queue, network or disk does not work now; the same call may work later."""

    reason = "unavailable"
    public = "storage or queue is unavailable; the log has the details"
    announced = False
    """Whether the log says so already, as for a connection that many parts of the process use."""

    def __init__(self, text: str, public: str = "") -> None:
        """`public` is the text for `/readyz`; by default, the one of the class."""
        super().__init__(text)
        self.public = public or self.public


class SourceMissing(Unavailable):
    """The source's root does not exist. This never means that its images were deleted."""

    reason = "source_missing"
    public = "the folder or bucket does not exist, or is not mounted"


class Throttled(Unavailable):
    """The service demands fewer requests."""

    reason = "throttled"
    public = "the service demands fewer requests"


class Denied(Unavailable):
    """The service refuses these credentials, or this operation. The operator may fix that while the job waits."""

    reason = "denied"
    public = "access is denied; the log has the details"


class Gone(WatcherError):
    """The image no longer exists."""


class Stale(WatcherError):
    """The image has changed: it is not the requested version."""


class Conflict(WatcherError):
    """The output has changed since it was read: another worker may have finished the same job."""


class NotAnEvent(WatcherError):
    """A message contains no known event; the text says what is wrong with it."""


def public(error: Exception) -> str:
    """The text for `/readyz`; for an unexpected error, only its class."""
    return error.public if isinstance(error, WatcherError) else f"{type(error).__name__}; the log has the details"
