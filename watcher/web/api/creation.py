"""POST /v1/cutouts: take an upload, and hand back the finished picture if the client waits for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from watcher.web.api.cutting import BATCH, Cutting, path_by_digest, rejected
from watcher.web.errors import ApiError, JsonResponse, bad_request
from watcher.web.history import Record, Status
from watcher.web.routes import path_of, picture
from watcher.web.uploads import Form

PATH = "/v1/cutouts"
_KEY = re.compile(r"[!-~]{1,255}")
_PREFER = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?=$|[,;\s])")
_SECONDS = re.compile(r"\d{1,6}(?:\.\d{1,3})?")


@dataclass(frozen=True)
class Creation:
    """Answers the requests."""

    cutting: Cutting

    async def answer(self, request: Request) -> Response:
        """202 and the item; with a time to wait 200 and the picture, once it is finished. Raises ApiError."""
        cutting, seconds, name = self.cutting, self._seconds(request), self._output(request)
        key = _idempotency_key(request)
        await cutting.require_room(waits=seconds > 0)
        form = await cutting.bodies.receiver.receive(request)
        record = await cutting.run(self._upload, form, key)
        if seconds > 0:
            record = await cutting.wait(request, record, seconds)
        if seconds > 0 and record.status is Status.REJECTED:
            raise rejected(record, 422)
        address = {"location": f"{PATH}/{record.id}"}
        if seconds <= 0 or record.status is not Status.DONE:
            headers = address | ({"retry-after": str(cutting.retry_after())} if seconds > 0 else {})
            return JsonResponse(cutting.cutouts.json(record), 202, headers)
        if "application/json" in request.headers.get("accept", ""):
            return JsonResponse(cutting.cutouts.json(record), 200, address)
        tag, output, data = await cutting.run(cutting.cutouts.output, record.id, name)
        answer = picture(request, tag, output, data)
        answer.headers.update(address)
        return answer

    def _output(self, request: Request) -> str:
        """The output that the client wants: the first one, unless it names another."""
        names = self.cutting.options.names
        name = request.query_params.get("output", names[0])
        if name not in names:
            raise bad_request("bad_output", f"there is no such output; there are {', '.join(names)}")
        return name

    def _seconds(self, request: Request) -> float:
        """How long the client wants to wait, and may: `?wait`, `?wait=SECONDS` or `Prefer: wait=SECONDS`."""
        if "wait" in request.query_params:
            text = request.query_params["wait"] or f"{self.cutting.options.timeout:g}"
            if not _SECONDS.fullmatch(text):
                raise bad_request("bad_wait", "wait is a number of seconds, such as wait=30")
            return min(float(text), self.cutting.options.timeout)
        preferred = _PREFER.search(request.headers.get("prefer", "").lower())
        return min(float(preferred[1]), self.cutting.options.timeout) if preferred else 0.0

    def _upload(self, form: Form, key: str) -> Record:
        upload, file = self.cutting.cutouts.upload, form.picture
        path, batch = path_of(form), form.fields.get("batch", "")
        if not key:
            return upload(file.data, path, batch)
        if not form.fields.get("path"):  # so that the key alone says which upload it is
            path = path_by_digest(key.encode(), path or "picture")
            batch = batch or BATCH
        try:
            return upload(file.data, path, batch, exact=True)
        except ApiError as error:
            if error.code != "name_taken":
                raise
            detail = "this Idempotency-Key was used for another picture, or a request with it is being received"
            raise ApiError(409, "idempotency_conflict", "Conflict", detail) from error


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if key and not _KEY.fullmatch(key):
        raise bad_request("bad_idempotency_key", "an Idempotency-Key has 1 to 255 printable ASCII characters")
    return key
