"""Reads requests that come as a form with files, as an encoded form, as JSON, or as the picture itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from watcher.web.errors import bad_request
from watcher.web.uploads import MAX_FIELDS, File, Receiver


@dataclass(frozen=True)
class Body:
    """The files and the fields of a request's body."""

    files: Mapping[str, File] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Texts, or with JSON any values."""


@dataclass(frozen=True)
class Bodies:
    """Receives bodies within the limits of uploads."""

    receiver: Receiver

    async def receive(
        self, request: Request, names: tuple[str, ...], large_fields: frozenset[str] = frozenset()
    ) -> Body:
        """Read the request. `names` are the fields that have pictures; see `Receiver.receive`. Raises ApiError."""
        kind, _ = parse_options_header(request.headers.get("content-type", ""))
        if kind == b"application/json":
            text = await self.receiver.receive_text(request, len(names))
            return Body(fields=await run_in_threadpool(_parsed_json, text))
        if kind == b"application/x-www-form-urlencoded":
            text = await self.receiver.receive_text(request, len(names))
            return Body(fields=await run_in_threadpool(_parsed_form, text))
        form = await self.receiver.receive(request, names, large_fields)
        return Body(form.files, form.fields)


def _parsed_json(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad_request("bad_json", "the body is not valid JSON") from error
    if not isinstance(value, dict) or len(value) > MAX_FIELDS:
        raise bad_request("bad_json", f"the body must be a JSON object with at most {MAX_FIELDS} names")
    return value


def _parsed_form(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise bad_request("bad_form", f"the body is not a valid form of at most {MAX_FIELDS} fields") from error
    if len(dict(pairs)) < len(pairs):
        raise bad_request("bad_form", "the form has a field twice")
    return dict(pairs)
