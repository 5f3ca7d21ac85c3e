"""POST and GET /api/remove: the request of rembg's own server."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from watcher.web.api.composing import require_size
from watcher.web.api.cutting import Cutting
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.validation import validated
from watcher.web.errors import SAFE_HEADERS, bad_request
from watcher.web.uploads import File

PATH = "/api/remove"
FILES = ("file",)


@dataclass(frozen=True)
class Rembg:
    """Answers the requests."""

    cutting: Cutting

    async def answer(self, request: Request) -> Response:
        """The cut-out as a PNG. Raises ApiError."""
        cutting = self.cutting
        await cutting.require_room()
        fields: dict[str, object] = dict(request.query_params)
        url = fields.pop("url", "")
        file = File()
        if request.method == "POST":
            body = await cutting.bodies.receive(request, FILES)
            fields |= body.fields
            file = body.files.get("file", file)
        options = validated(RembgOptions, fields)
        if options.model not in (None, cutting.options.model):
            raise bad_request(
                "invalid_model", f"model: this daemon runs {cutting.options.model}; send that, or leave it out"
            )
        if request.method == "GET":
            if not url:
                raise bad_request("missing_source", "the request has no picture; send its address as url")
            file = await cutting.fetch("url", str(url))
        await cutting.compute(require_size, file.data)
        result = await cutting.result(request, file, options)
        headers = {"cache-control": "no-store", **SAFE_HEADERS, **cutting.rate_headers()}
        return Response(result.data, headers=headers, media_type=result.media_type)
