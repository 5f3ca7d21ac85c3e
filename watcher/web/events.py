"""POST /events: a bucket, or any other program, announces new images."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from watcher.core.errors import NotAnEvent, Unavailable
from watcher.sources.events import LIMIT

RETRY_AFTER = 5
"""Seconds after which a sender should retry a message that was not accepted."""
MAX_CONCURRENT = 8
"""Messages handled at a time: fewer than the threads of the pool, so that /metrics never waits for storage."""
BODY_TIMEOUT = 10.0
"""Seconds in which a message's body must arrive: it occupies one of the slots for that long."""

# SNS sends its password only after a challenge.
_CHALLENGE = {"www-authenticate": 'Basic realm="alphadrop", Bearer realm="alphadrop"'}
_TOO_LONG = f"the body is longer than {LIMIT} bytes"
_RETRY = {"retry-after": str(RETRY_AFTER)}


def events_route(token: str, accept: Callable[[bytes], None]) -> Route:
    """The route POST /events. It requires `token`, as a bearer token or as the password of any user.

    `accept` is called in a thread with the message's body, at most LIMIT bytes. When it returns, the message must be
    stored: the response is 204. It may raise NotAnEvent (400: do not send it again) or Unavailable (503: retry).
    Raises ValueError for an empty token, and for one with spaces around it, which a header cannot carry.
    """
    if not token or token != token.strip():
        raise ValueError("the token is empty, or has spaces around it")
    secret, slots = token.encode(), asyncio.Semaphore(MAX_CONCURRENT)

    async def events(request: Request) -> Response:
        if not hmac.compare_digest(_credential(request.headers.get("authorization", "")), secret):
            return _error(401, "the token is missing or wrong", _CHALLENGE)
        if int(request.headers.get("content-length", 0)) > LIMIT:
            return _error(413, _TOO_LONG)
        async with slots:  # before the body is read, so that waiting requests take up no memory
            body = await _read(request)
            return body if isinstance(body, Response) else await run_in_threadpool(_accept, accept, body)

    return Route("/events", events, methods=["POST"])


def _accept(accept: Callable[[bytes], None], body: bytes) -> Response:
    try:
        accept(body)
    except NotAnEvent as error:
        return _error(400, str(error))
    except Unavailable as error:
        return _error(503, str(error), _RETRY)
    return Response(status_code=204)


def _credential(header: str) -> bytes:
    """The token in an Authorization header; empty if there is none."""
    scheme, _, value = header.partition(" ")
    # Starlette decodes headers as Latin-1, which is lossless.
    credential = value.strip().encode("latin-1")
    match scheme.lower():
        case "bearer":
            return credential
        case "basic":
            return _password(credential)
    return b""


def _password(credential: bytes) -> bytes:
    try:
        return base64.b64decode(credential, validate=True).partition(b":")[2]
    except ValueError:
        return b""


async def _read(request: Request) -> bytes | Response:
    """The body, or the error response if it is too long, too slow or incomplete."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LIMIT:
                    return _error(413, _TOO_LONG)
    except TimeoutError:
        return _error(408, f"the body did not arrive within {BODY_TIMEOUT:g} seconds", {"connection": "close"})
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    return bytes(body)


def _error(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, headers)
