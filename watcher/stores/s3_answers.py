"""Refusals that mean something to a store, in its words; None leaves them to `aws_errors.translate`."""

from __future__ import annotations

from botocore.exceptions import ClientError

from watcher.aws.errors import code_of, status_of
from watcher.core.errors import Conflict, Denied, Gone, Rejected, Stale, Unavailable, WatcherError

_UNREASONED = {
    400: "credentials that have run out are refused like this: renew them",
    403: "allow s3:GetObject, and s3:ListBucket, without which what is not there is refused like this too",
}


def head_trouble(error: ClientError, address: str) -> WatcherError | None:
    """A HEAD that failed; its answers never have a body, which would give a reason."""
    status = status_of(error.response)
    if status not in _UNREASONED:
        return None
    why = f"refused ({status}); {_UNREASONED[status]}"
    return Denied(f"{address}: {why}", public=why)


def read_trouble(error: ClientError, address: str) -> WatcherError | None:
    """A version that was to be read or copied."""
    code, status = code_of(error.response), status_of(error.response)
    if status == 412:
        return Stale(f"{address} has changed since it was found")
    if status == 404 and code != "NoSuchBucket":
        return Gone(f"{address} is not there any more")
    if code == "InvalidObjectState":
        return Rejected("archived", f"{address} is in an archive; restore it or change its storage class, then retry")
    return None


def write_trouble(error: ClientError, address: str, conditional: bool) -> WatcherError | None:
    """A put, on condition or not."""
    code, status = code_of(error.response), status_of(error.response)
    if code == "NoSuchBucket":
        missing = "the bucket does not exist; create it, or correct its name, endpoint or region"
        return Unavailable(f"{address}: {missing}", public=missing)
    if conditional and (status in (404, 412) or code == "ConditionalRequestConflict"):  # 404: nothing to replace
        return Conflict(f"{address} has changed since it was looked at")
    if code == "KeyTooLongError":
        return Rejected("name_too_long", f"{address} is too long for this store; rename the image")
    return None
