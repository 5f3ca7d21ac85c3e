"""POST /v1.0/removebg: the request that the common background-removal services share.

A program that uses such a service works here with its address changed. https://www.remove.bg/api documents the request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from watcher.web.api.bodies import Body
from watcher.web.api.composing import Result, require_size
from watcher.web.api.cutting import Cutting
from watcher.web.api.removebg_options import RemovebgOptions
from watcher.web.api.validation import validated
from watcher.web.errors import SAFE_HEADERS, ApiError, JsonResponse, bad_request
from watcher.web.uploads import File

PATH = "/v1.0/removebg"
FILES = ("image_file", "bg_image_file")
LARGE_FIELDS = frozenset({"image_file_b64"})
_SOURCES = ("image_file", "image_file_b64", "image_url")
_BACKGROUNDS = ("bg_image_file", "bg_image_url")
_NOT_OPTIONS = frozenset((*_SOURCES, *_BACKGROUNDS))


@dataclass(frozen=True)
class Removebg:
    """Answers the requests."""

    cutting: Cutting

    async def answer(self, request: Request) -> Response:
        """The picture, or with `Accept: application/json` the same in base64. Raises ApiError."""
        await self.cutting.require_room()
        body = await self.cutting.bodies.receive(request, FILES, LARGE_FIELDS)
        fields = {name: value for name, value in body.fields.items() if name not in _NOT_OPTIONS}
        options = validated(RemovebgOptions, fields)
        background = _only_one(body, _BACKGROUNDS, "a background picture")
        if background and (options.bg_color or options.is_zip or options.channels == "alpha"):
            raise bad_request(
                "invalid_combination", f"{background} goes with no bg_color, no zip and no channels=alpha"
            )
        photo = await self._photo(body)
        await self.cutting.compute(require_size, photo.data)
        picture = await self._bytes(body, background) if background else File()
        result = await self.cutting.result(request, photo, options, picture)
        kind = options.type if options.type != "auto" else "other"
        return self._respond(result, "application/json" in request.headers.get("accept", ""), kind)

    async def _photo(self, body: Body) -> File:
        source = _only_one(body, _SOURCES, "a picture")
        if source is None:
            raise bad_request("missing_source", f"the request has no picture; send one of {', '.join(_SOURCES)}")
        return await self._bytes(body, source)

    async def _bytes(self, body: Body, name: str) -> File:
        """The picture of a field, whichever way it was sent."""
        if name in body.files:
            return body.files[name]
        text = body.fields[name]
        if not isinstance(text, str):
            raise bad_request(f"invalid_{name}", f"{name} is a text")
        if name.endswith("_url"):
            return await self.cutting.fetch(name, text)
        data = await self.cutting.compute(_decoded, name, text)
        self.cutting.bodies.receiver.require_size(data)
        return File(data)

    def _respond(self, result: Result, as_json: bool, kind: str) -> Response:
        box = result.foreground
        place = {"top": box.top, "left": box.left, "width": box.width, "height": box.height}
        headers = {
            "x-width": str(result.width),
            "x-height": str(result.height),
            **{f"x-foreground-{name}": str(value) for name, value in place.items()},
            "x-type": kind,
            "x-credits-charged": "0",
            **self.cutting.rate_headers(),
        }
        if as_json:
            data: Mapping[str, Any] = {f"foreground_{name}": value for name, value in place.items()}
            return JsonResponse(
                {"data": {"result_b64": base64.b64encode(result.data).decode(), **data}}, headers=headers
            )
        return Response(
            result.data, headers={"cache-control": "no-store", **SAFE_HEADERS, **headers}, media_type=result.media_type
        )


def _only_one(body: Body, names: tuple[str, ...], what: str) -> str | None:
    """The field that is there; None for none of them. Raises ApiError for several."""
    found = [name for name in names if name in body.files or body.fields.get(name) not in ("", None)]
    if len(found) > 1:
        raise bad_request("multiple_sources", f"{' and '.join(found)} are each {what}; send one of them")
    return found[0] if found else None


def _decoded(name: str, text: str) -> bytes:
    """The bytes of a text in base64, also as a data address."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded.translate(_WHITESPACE), validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"invalid_{name}", f"{name} is not valid base64") from error


_WHITESPACE = dict.fromkeys(map(ord, " \r\n\t"))


def auth_failed() -> ApiError:
    """The error for a missing or wrong token, with the status that such services use."""
    return ApiError(403, "auth_failed", "API key invalid", "send a valid token in the header X-Api-Key")
