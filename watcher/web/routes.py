"""The routes of /v1: from requests to the operations in `cutouts`, and back to JSON and pictures."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from watcher.core.errors import WatcherError
from watcher.core.reasons import Reason
from watcher.stores.decisions import Verdict
from watcher.stores.output_metadata import content_type
from watcher.web.access import Access
from watcher.web.archive import zip_stream
from watcher.web.cutouts import Cutouts
from watcher.web.errors import (
    SAFE_HEADERS,
    ApiError,
    JsonResponse,
    bad_request,
    error_response,
    of_watcher_error,
)
from watcher.web.history import Order, Query, Record, Status, decode_cursor, encode_cursor
from watcher.web.live import Live
from watcher.web.redo import Remake
from watcher.web.thumbnails import Thumbnails
from watcher.web.uploads import Form, Receiver

log = structlog.get_logger(__name__)

THREADS = 8
"""Requests that wait for storage at a time: they have threads of their own, so that /metrics never waits."""
DRAWING = 2
"""Thumbnails that are in progress at a time: one is read while the other is made. Others wait without a thread."""
UNFINISHED = "unfinished"
"""What a list's `status` may be beside those of items: queued or running."""
MOST_LISTED = 500
"""Items of one part of a list."""
MOST_ARCHIVED = 1000
"""Items that may be named for one zip file."""
MAX_JSON = 8192
"""Bytes of a body of JSON."""
_CACHED, _FRESH = "private, max-age=86400", "private, no-cache"
"""How long a browser keeps a picture whose address changes with it, and one that it must ask for each time."""
_PICTURES = "default-src 'none'; sandbox"
"""The policy of a picture that a browser shows by itself."""

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The endpoints of /v1."""

    def __init__(
        self,
        cutouts: Cutouts,
        access: Access,
        receiver: Receiver,
        thumbnails: Thumbnails,
        remake: Remake,
        read_status: Callable[[], dict[str, Any]],
    ) -> None:
        """`read_status` is called in a thread."""
        self.cutouts, self.access, self.receiver = cutouts, access, receiver
        self.thumbnails, self.remake, self._read_status = thumbnails, remake, read_status
        self.live = Live(cutouts.items, read_status, self.run)
        cutouts.listeners.append(self.live.changed)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self._drawing = ThreadPoolExecutor(DRAWING, thread_name_prefix="thumbnail")

    def close(self) -> None:
        """Wait for the threads."""
        self._drawing.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)

    def routes(self) -> list[Route]:
        """All routes, each of which checks access and reports errors in the same way."""
        one = "/v1/cutouts/{id}"
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/v1/cutouts", self.list),
            ("GET", one, self.show),
            ("GET", one + "/outputs/{name}", self.output),
            ("GET", one + "/original", self.original),
            ("GET", one + "/thumbnail", self.thumbnail),
            ("POST", one + "/retry", self.retry),
            ("POST", one + "/redo", self.redo),
            ("POST", one + "/accept", functools.partial(self.decide, verdict=Verdict.ACCEPTED)),
            ("POST", one + "/reject", functools.partial(self.decide, verdict=Verdict.REJECTED)),
        ]
        table += [("GET", "/v1/archive", self.archive), ("GET", "/v1/status", self.status)]
        table.append(("GET", "/v1/events", self.events))
        routes = [Route(path, self.guarded(endpoint), methods=[method]) for method, path, endpoint in table]
        session = {"GET": self.show_session, "POST": self.start_session, "DELETE": self.end_session}
        routes += [Route("/v1/session", reporting(end), methods=[method]) for method, end in session.items()]
        return routes

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """An endpoint that only those see who may, and whose errors have the API's shape."""

        async def guard(request: Request) -> Response:
            self.access.check(request)
            return await endpoint(request)

        return reporting(guard)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that waits for storage in one of the API's threads."""
        call = functools.partial(function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    # Endpoints.

    async def list(self, request: Request) -> Response:
        """GET /v1/cutouts: a part of the list."""
        records, after, total = await self.run(self.cutouts.page, query_of(request))
        items = [self.cutouts.json(record) for record in records]
        return JsonResponse({"items": items, "next": encode_cursor(after) if after else None, "total": total})

    async def show(self, request: Request) -> Response:
        """GET /v1/cutouts/ID: one item."""
        record = await self.run(self.cutouts.shown, request.path_params["id"])
        return JsonResponse(self.cutouts.json(record))

    async def output(self, request: Request) -> Response:
        """GET /v1/cutouts/ID/outputs/NAME: the bytes of an output."""
        id, name = request.path_params["id"], request.path_params["name"]
        tag, key, data = await self.run(self.cutouts.output, id, name)
        return picture(request, tag, key, data)

    async def original(self, request: Request) -> Response:
        """GET /v1/cutouts/ID/original: the bytes of the image itself."""
        tag, key, data = await self.run(self.cutouts.original, request.path_params["id"])
        return picture(request, tag, key, data)

    async def thumbnail(self, request: Request) -> Response:
        """GET /v1/cutouts/ID/thumbnail: a small picture of the output if there is one, or of the original."""
        of = request.query_params.get("of", "")
        if of not in ("", "output", "original"):
            raise bad_request("bad_query", "of is output or original")
        tag, read = await self.run(self.cutouts.picture, request.path_params["id"], of)
        headers = {
            **SAFE_HEADERS,
            "etag": f'"{tag}-t"',
            "cache-control": _CACHED if "v" in request.query_params else _FRESH,
        }
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        drawn = asyncio.get_running_loop().run_in_executor(self._drawing, self.thumbnails.get, tag, read)
        return Response(await drawn, headers=headers, media_type="image/webp")

    async def archive(self, request: Request) -> Response:
        """GET /v1/archive: the outputs of a batch, of a search or of some items as a zip file."""
        query = query_of(request)
        ids = [id for id in request.query_params.get("ids", "").split(",") if id]
        if len(ids) > MOST_ARCHIVED:
            raise bad_request("too_many_ids", f"name at most {MOST_ARCHIVED} ids, or a batch")
        pieces = zip_stream(self.cutouts.entries(query, ids))
        first = await self.run(next, pieces)
        headers = {**SAFE_HEADERS, "cache-control": "no-store"}
        headers["content-disposition"] = disposition(f"{query.batch or 'cutouts'}.zip", "attachment")
        return StreamingResponse(self._pieces(first, pieces), headers=headers, media_type="application/zip")

    async def _pieces(self, first: bytes, rest: Iterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        while (piece := await self.run(next, rest, b"")) != b"":
            yield piece

    async def status(self, request: Request) -> Response:
        """GET /v1/status: what the daemon is doing."""
        return JsonResponse(await self.run(self._read_status))

    async def events(self, request: Request) -> Response:
        """GET /v1/events: what changes, as it changes."""
        headers = {**SAFE_HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(await self.live.events(), headers=headers, media_type="text/event-stream")

    async def redo(self, request: Request) -> Response:
        """POST /v1/cutouts/ID/redo: make a finished picture again with another model, or in another preset."""
        wanted = await read_json(request)
        model, preset = wanted.get("model") or "", wanted.get("preset") or ""
        if not (isinstance(model, str) and isinstance(preset, str)):
            raise bad_request("bad_json", "model and preset are texts")
        record = await self.run(self._start_redo, request.path_params["id"], model, preset)
        return JsonResponse(self.cutouts.json(record), 202)

    def _start_redo(self, id: str, model: str, preset: str) -> Record:
        record = self.cutouts.get(id)
        if record.status is not Status.DONE:
            raise ApiError(409, "not_done", "Conflict", "only a finished picture can be made again")
        self.remake.start(record, model, preset)
        self.live.changed(id)
        return self.cutouts.get(id)

    async def retry(self, request: Request) -> Response:
        """POST /v1/cutouts/ID/retry: process a rejected image again."""
        record = await self.run(self.cutouts.retry, request.path_params["id"])
        return JsonResponse(self.cutouts.json(record), 202)

    async def decide(self, request: Request, verdict: Verdict) -> Response:
        """POST /v1/cutouts/ID/accept and /reject: keep a decision."""
        record = await self.run(self.cutouts.decide, request.path_params["id"], verdict)
        return JsonResponse(self.cutouts.json(record))

    async def show_session(self, request: Request) -> Response:
        """GET /v1/session: whether a token is needed, and whether this browser has given one."""
        signed_in = self.access.has_token(request) or self.access.has_session(request)
        return JsonResponse({"required": self.access.required, "signed_in": signed_in or not self.access.required})

    async def start_session(self, request: Request) -> Response:
        """POST /v1/session: exchange a token for the page's cookie."""
        token = (await read_json(request)).get("token")
        if not isinstance(token, str):
            raise bad_request("bad_json", 'send {"token": "..."}')
        return JsonResponse({"signed_in": True}, 200, {"set-cookie": self.access.start_session(request, token)})

    async def end_session(self, request: Request) -> Response:
        """DELETE /v1/session: remove the cookie."""
        return JsonResponse({"signed_in": False}, 200, {"set-cookie": self.access.end_session(request)})


def reporting(endpoint: Endpoint) -> Endpoint:
    """An endpoint whose errors have the API's shape; an unexpected one is logged."""

    @functools.wraps(endpoint)
    async def report(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            return error_response(error)
        except WatcherError as error:
            return error_response(of_watcher_error(error))
        except Exception as error:
            log.error("api_request_failed", path=request.url.path, problem=str(error), exc_info=True)
            return error_response(ApiError(500, "internal", "Internal error", "the log says what has happened"))

    return report


def path_of(form: Form) -> str:
    """The path that an upload asks for: as it says, or the file's name without its folders."""
    return form.fields.get("path") or form.picture.name.replace("\\", "/").rpartition("/")[2]


def query_of(request: Request) -> Query:
    """What a list's address asks for. Raises ApiError."""
    values = request.query_params
    status, unfinished = values.get("status"), values.get("status") == UNFINISHED
    try:
        return Query(
            status=Status.QUEUED if unfinished else Status(status) if status else None,
            unfinished=unfinished,
            batch=values.get("batch", ""),
            text=values.get("query", ""),
            undecided=values.get("decision", "") == "none",
            order=Order(values.get("order") or "newest"),
            limit=min(MOST_LISTED, max(1, int(values.get("limit") or 50))),
            after=decode_cursor(values["cursor"]) if values.get("cursor") else None,
        )
    except ValueError as error:
        detail = "status, order, limit or cursor is wrong: take `next` of the list before as the cursor"
        raise bad_request("bad_query", detail) from error


async def read_json(request: Request) -> dict[str, Any]:
    """A small object of JSON; empty for no body. Raises ApiError."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON:
            raise ApiError(413, Reason.TOO_LARGE.value, "Too large", f"the JSON is longer than {MAX_JSON} bytes")
    try:
        value = json.loads(bytes(body) or b"{}")
    except (ValueError, RecursionError) as error:
        raise bad_request("bad_json", "the body is not valid JSON") from error
    if not isinstance(value, dict):
        raise bad_request("bad_json", "the body must be a JSON object")
    return value


def picture(request: Request, tag: str, key: str, data: bytes) -> Response:
    """The response with a picture: shown or saved as such, and never as a page."""
    etag = f'"{tag}"'
    headers = {
        **SAFE_HEADERS,
        "etag": etag,
        "cache-control": _FRESH,
        "content-security-policy": _PICTURES,
        "content-disposition": disposition(key, "attachment" if "download" in request.query_params else "inline"),
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=_media_type(key))


def disposition(key: str, kind: str) -> str:
    """The Content-Disposition header for a file, by RFC 6266.

    >>> disposition("a/shoe.png", "inline")
    "inline; filename=shoe.png; filename*=UTF-8''shoe.png"
    """
    name = key.rpartition("/")[2]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return f"{kind}; filename={plain}; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _media_type(key: str) -> str:
    """Of pictures that browsers show; anything else is only saved."""
    kind = content_type(key)
    return kind if kind in _SHOWN else "application/octet-stream"


_SHOWN = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "webp", "avif", "gif", "bmp", "tiff"))
