"""Where a bucket, or any program, says over HTTP what has arrived: POST /events."""

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

RETRY_SECONDS = 5
ACCEPTING = 8
"""Messages that are accepted at a time. Less than the pool's threads, so that /metrics never waits for storage."""

SLOWEST = 10.0
"""Seconds that a message's body may take to come: nobody else has its slot until then."""

# SNS sends its password only when it is asked for it.
_CHALLENGE = {"www-authenticate": 'Basic realm="alphadrop", Bearer realm="alphadrop"'}
_TOO_LONG = f"it is longer than {LIMIT} bytes"
_RETRY = {"retry-after": str(RETRY_SECONDS)}


def events_route(token: str, accept: Callable[[bytes], None]) -> Route:
    """POST /events for whoever knows the token, as a bearer's or as a password with any user's name.

    `accept` is called in a thread with the message's body, at most LIMIT bytes. The answer is 204 when it has returned:
    the message must be safe by then. It may raise NotAnEvent (400: do not send that again) or Unavailable (503: do).
    Raises ValueError for a token that a header cannot carry, the empty one above all.
    """
    if not token or token != token.strip():
        raise ValueError("the token is empty, or has spaces around it")
    secret, slots = token.encode(), asyncio.Semaphore(ACCEPTING)

    async def events(request: Request) -> Response:
        if not hmac.compare_digest(_credential(request.headers.get("authorization", "")), secret):
            return _refusal(401, "the token is missing or wrong", _CHALLENGE)
        if int(request.headers.get("content-length", 0)) > LIMIT:
            return _refusal(413, _TOO_LONG)
        async with slots:  # before the body is read: what waits takes up no memory
            body = await _read(request)
            return body if isinstance(body, Response) else await run_in_threadpool(_answer, accept, body)

    return Route("/events", events, methods=["POST"])


def _answer(accept: Callable[[bytes], None], body: bytes) -> Response:
    try:
        accept(body)
    except NotAnEvent as error:
        return _refusal(400, str(error))
    except Unavailable as error:
        return _refusal(503, str(error), _RETRY)
    return Response(status_code=204)


def _credential(header: str) -> bytes:
    """The token in an Authorization header, b"" where there is none."""
    scheme, _, value = header.partition(" ")
    # Starlette has read the header as Latin-1, which loses nothing.
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
    """The body, or what is answered where it is too long, too slow or not coming."""
    body = bytearray()
    try:
        async with asyncio.timeout(SLOWEST):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LIMIT:
                    return _refusal(413, _TOO_LONG)
    except TimeoutError:
        return _refusal(408, f"it has not come within {SLOWEST:g} seconds", {"connection": "close"})
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    return bytes(body)


def _refusal(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, headers)
