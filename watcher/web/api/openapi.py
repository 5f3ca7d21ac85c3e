"""The OpenAPI 3.1 document of the API. A test compares it with the routes and their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from watcher.web.api import schemas
from watcher.web.api.rembg_options import RembgOptions
from watcher.web.api.removebg_options import RemovebgOptions

PATH = "/v1/openapi.json"
Json = dict[str, Any]
_ANSWERS: Sequence[type[BaseModel]] = (
    schemas.Errors,
    schemas.Item,
    schemas.Items,
    schemas.RemovebgAnswer,
    schemas.Session,
    schemas.Status,
)
_PICTURES = tuple(f"image/{kind}" for kind in ("png", "jpeg", "webp", "avif", "tiff", "gif", "bmp"))
_FILE: Json = {"type": "string", "format": "binary"}
_BASE64: Json = {"type": "string", "format": "byte", "contentEncoding": "base64"}
_EVENT: Json = {"type": "object", "properties": {"event": {"type": "string"}, "data": {"type": "string"}}}
_IDS: Json = {"type": "string", "maxLength": 21_000, "pattern": "^[A-Za-z0-9_,-]*$"}
_ERRORS: Mapping[int, str] = {
    400: "The request is wrong; `detail` says what to write instead.",
    401: "The token is missing or wrong.",
    403: "The token is wrong, or a browser sent the request for another site.",
    404: "There is no such picture, or it is not there any more.",
    408: "The upload stopped.",
    409: "This cannot be done with the picture now.",
    410: "The picture is not in the source any more.",
    413: "The upload is too large.",
    415: "The upload is no picture, or of a type that is not read.",
    422: "The picture can never work.",
    429: "Come back after `Retry-After` seconds: too many requests wait, or too many uploads.",
    503: "Come back after `Retry-After` seconds: the daemon starts, or storage or queue cannot be reached.",
}
_ALWAYS = (400, 401, 403, 503)
_UPLOAD = (*_ALWAYS, 408, 409, 413, 415, 429)


@cache
def document() -> Json:
    """The document. Callers must not change it."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in _ANSWERS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "alphadrop", "version": version("alphadrop"), "summary": "Pictures in, cut-outs out."},
        "security": [{"bearer": []}, {"key": []}, {"session": []}],
        "paths": _paths(),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "session": {"type": "apiKey", "in": "cookie", "name": "alphadrop_session"},
            },
        },
    }


def _paths() -> Json:
    one, id = "/v1/cutouts/{id}", _path("id", "The item's id.")
    item = _json(200, "The item.", "Item")
    return {
        "/v1/cutouts": {"post": _create(), "get": _list()},
        one: {"get": _operation("Show an image", [id], item, (*_ALWAYS, 404))},
        one + "/outputs/{name}": {
            "get": _operation(
                "Fetch an output",
                [id, _path("name", "The output's name."), *_PICTURE_HEADERS],
                _picture(),
                (*_ALWAYS, 404),
            )
        },
        one + "/original": {
            "get": _operation("Fetch the image itself", [id, *_PICTURE_HEADERS], _picture(), (*_ALWAYS, 404))
        },
        one + "/thumbnail": {"get": _thumbnail(id)},
        one + "/redo": {"post": _redo(id)},
        one + "/retry": {
            "post": _operation(
                "Process a rejected image again", [id], _json(202, "It waits again.", "Item"), (*_ALWAYS, 404, 409, 410)
            )
        },
        one + "/accept": {"post": _operation("Accept a cut-out", [id], item, (*_ALWAYS, 404, 409))},
        one + "/reject": {"post": _operation("Reject a cut-out", [id], item, (*_ALWAYS, 404, 409))},
        "/v1/archive": {"get": _archive()},
        "/v1/status": {
            "get": _operation("Show what the daemon is doing", [], _json(200, "Its state now.", "Status"), _ALWAYS)
        },
        "/v1/events": {
            "get": _operation(
                "Follow what changes: the events `status`, `item` and `reload`",
                [],
                _answer(200, "Server-sent events, without an end.", "text/event-stream", _EVENT),
                (*_ALWAYS, 429),
            )
        },
        "/v1/session": _session(),
        PATH: {"get": _operation("This document", [], _answer(200, "The document.", "application/json", {}), ())},
        "/v1.0/removebg": {"post": _removebg()},
        "/api/remove": {"post": _rembg_post(), "get": _rembg_get()},
    }


def _thumbnail(id: Json) -> Json:
    of = _query(
        "of",
        {"type": "string", "enum": ["output", "original"]},
        "Of which; by default of the first output if there is one.",
    )
    answer = _answer(200, "A picture of at most 320 x 320 pixels.", "image/webp", _FILE)
    return _operation("Fetch a small picture", [id, of, _PICTURE_HEADERS[0]], answer, (*_ALWAYS, 404))


def _redo(id: Json) -> Json:
    body = _body({"application/json": _object({"model": _short(200), "preset": _short(100)})})
    answers = _json(202, "It is being made again; at least one of model and preset is needed.", "Item")
    return _operation("Make a finished picture again", [id], answers, (*_ALWAYS, 404, 409, 413, 422, 429), body)


def _archive() -> Json:
    kept = ("status", "batch", "query", "decision")
    parameters = [parameter for parameter in _list()["parameters"] if parameter["name"] in kept]
    ids = _query("ids", _IDS, "Instead: the ids of at most 1000 images, with commas in between.")
    answer = _answer(200, "The outputs of all finished images that match.", "application/zip", _FILE)
    return _operation("Fetch outputs as a zip file", [*parameters, ids], answer, (*_ALWAYS, 404))


def _create() -> Json:
    parameters = [
        _query("wait", {"type": "number", "minimum": 0, "maximum": 3600}, "Seconds to wait for the picture."),
        _query("output", _short(40), "The output to answer with; the first one by default."),
        _query("path", _short(700), "With a picture as body: its path in its batch, such as shoes/1.jpg."),
        _query("batch", _short(80), "With a picture as body: its batch; the day's date by default."),
        _header("Prefer", {"type": "string", "pattern": "^wait=[0-9]{1,4}$"}, "The same as `wait`, by RFC 7240."),
        _header("Idempotency-Key", {"type": "string", "pattern": "^[!-~]{1,255}$"}, "Repeat a request without harm."),
    ]
    form = _object({"image_file": _FILE, "path": _short(700), "batch": _short(80)}, ["image_file"])
    body = _body({"multipart/form-data": form, **dict.fromkeys(_PICTURES, _FILE), "application/octet-stream": _FILE})
    answers = _picture(304) | _json(202, "It waits for its turn, or the time is over.", "Item")
    answers["200"]["content"]["application/json"] = {"schema": _ref("Item")}
    return _operation("Cut out a picture", parameters, answers, (*_UPLOAD, 422), body)


_STATUS = "Only these; `unfinished` are those that are queued or running."


def _list() -> Json:
    parameters = [
        _query("status", {"type": "string", "enum": ["queued", "running", "done", "rejected", "unfinished"]}, _STATUS),
        _query("batch", _short(80), "Only those of a batch."),
        _query("query", _short(200), "Only those whose key contains this, in any case."),
        _query("decision", {"type": "string", "enum": ["none"]}, "Only those about which nobody has decided."),
        _query("order", {"type": "string", "enum": ["newest", "worst"]}, "By time, or by score, the least sure first."),
        _query("cursor", _short(200), "`next` of the part before."),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "Most items of a part; 50 by default."),
    ]
    return _operation("List images", parameters, _json(200, "A part of the list.", "Items"), _ALWAYS)


def _session() -> Json:
    state = _json(200, "The state of the session.", "Session")
    body = _body({"application/json": _object({"token": {"type": "string"}}, ["token"])})
    return {
        "get": _operation("Show whether a browser is signed in", [], state, ()),
        "post": _operation("Exchange a token for a cookie", [], state, (400, 401, 403, 413), body),
        "delete": _operation("Remove the cookie", [], state, ()),
    }


def _removebg() -> Json:
    options = RemovebgOptions.model_json_schema()["properties"]
    texts = {"image_file_b64": _BASE64, "image_url": _short(2000), "bg_image_url": _short(2000)}
    files = {"image_file": _FILE, "bg_image_file": _FILE}
    body = _body(
        {
            "multipart/form-data": _object({**files, **texts, **options}),
            "application/x-www-form-urlencoded": _object({**texts, **options}),
            "application/json": _object({**texts, **options}),
        }
    )
    answers = _picture()
    answers["200"]["content"] |= {
        "application/zip": {"schema": _FILE},
        "application/json": {"schema": _ref("RemovebgAnswer")},
    }
    numbers = ("X-Width", "X-Height", *(f"X-Foreground-{side}" for side in ("Top", "Left", "Width", "Height")))
    limits = ("X-Credits-Charged", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    answers["200"]["headers"] = {name: {"schema": {"type": "integer"}} for name in (*numbers, *limits)} | {
        "X-Type": {"schema": {"type": "string"}}
    }
    errors = tuple(status for status in _UPLOAD if status != 401)
    return _operation("Cut out a picture, as background-removal services do", [], answers, errors, body)


def _rembg_post() -> Json:
    options = RembgOptions.model_json_schema()["properties"]
    body = _body({"multipart/form-data": _object({"file": _FILE, **options}, ["file"])})
    parameters = [_query(name, schema, schema.get("description", "")) for name, schema in options.items()]
    return _operation("Cut out a picture, as rembg's server does", parameters, _picture(), _UPLOAD, body)


def _rembg_get() -> Json:
    options = RembgOptions.model_json_schema()["properties"]
    parameters = [_query(name, schema, schema.get("description", "")) for name, schema in options.items()]
    url = {**_query("url", _short(2000), "The picture's address."), "required": True}
    return _operation("Cut out the picture at an address", [url, *parameters], _picture(), _UPLOAD)


def _operation(
    summary: str, parameters: Sequence[Json], answers: Json, errors: Iterable[int], body: Json | None = None
) -> Json:
    failures = {str(status): _failure(status) for status in sorted(errors)}
    operation: Json = {"summary": summary, "parameters": list(parameters), "responses": {**answers, **failures}}
    if not errors:
        operation["security"] = []
    return operation | ({"requestBody": body} if body else {})


def _failure(status: int) -> Json:
    failure: Json = {"description": _ERRORS[status], "content": {"application/json": {"schema": _ref("Errors")}}}
    if status in (429, 503):
        failure["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return failure


def _picture(*others: int) -> Json:
    content = {kind: {"schema": _FILE} for kind in (*_PICTURES, "application/octet-stream")}
    return {"200": {"description": "The picture.", "content": content}} | {
        str(status): {"description": "The picture has not changed."} for status in others
    }


def _json(status: int, description: str, model: str) -> Json:
    return _answer(status, description, "application/json", _ref(model))


def _answer(status: int, description: str, kind: str, schema: Json) -> Json:
    return {str(status): {"description": description, "content": {kind: {"schema": schema}}}}


def _body(schemas_by_type: Mapping[str, Json]) -> Json:
    return {"required": True, "content": {kind: {"schema": schema} for kind, schema in schemas_by_type.items()}}


def _object(properties: Json, required: Sequence[str] = ()) -> Json:
    found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def _ref(model: str) -> Json:
    return {"$ref": f"#/components/schemas/{model}"}


def _short(length: int) -> Json:
    return {"type": "string", "maxLength": length}


def _path(name: str, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": _short(200)}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


_PICTURE_HEADERS = (
    _header("If-None-Match", _short(200), "The ETag of what the client has."),
    _query("download", _short(10), "Save the picture, do not show it."),
)
