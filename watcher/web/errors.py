"""The errors of the API: one shape for all, with a code for programs and a sentence for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from watcher.core.errors import Rejected, Unavailable, WatcherError

RETRY_AFTER = 5
"""Seconds after which a client should repeat a request that could not be handled now."""


class ApiError(Exception):
    """A request that fails. `detail` says what to do about it, and holds no secret."""

    def __init__(
        self, status: int, code: str, title: str, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """`code` is a stable word for programs, `title` a few words that are the same each time."""
        super().__init__(f"{status} {code}: {detail or title}")
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.headers = dict(headers or {})


class JsonResponse(Response):
    """JSON in ASCII: a file's name need not be valid text. Never stored by caches."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", **SAFE_HEADERS, **(headers or {})})

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}
"""On every response of the API: no browser guesses a type, and no other site shows a picture."""


def error_response(error: ApiError) -> JsonResponse:
    """The response that reports an error: `{"errors": [{"title", "code", "detail"}]}`."""
    body = {"title": error.title, "code": error.code, "detail": error.detail or error.title}
    return JsonResponse({"errors": [body]}, error.status, error.headers)


def too_many(code: str, detail: str, seconds: int = RETRY_AFTER) -> ApiError:
    """The error for a client that must slow down."""
    return ApiError(429, code, "Too many requests", detail, {"retry-after": str(seconds)})


def not_found(detail: str) -> ApiError:
    """The error for what is not there."""
    return ApiError(404, "not_found", "Not found", detail)


def bad_request(code: str, detail: str) -> ApiError:
    """The error for a request that can never work."""
    return ApiError(400, code, "Bad request", detail)


def of_watcher_error(error: WatcherError) -> ApiError:
    """The error for what storage or queue has reported."""
    if isinstance(error, Unavailable):
        return ApiError(503, "unavailable", "Unavailable", error.public, {"retry-after": str(RETRY_AFTER)})
    if isinstance(error, Rejected):
        return ApiError(422, error.rejection.reason.value, "Cannot be processed", error.rejection.detail)
    return ApiError(409, error.reason, "Conflict", str(error))
