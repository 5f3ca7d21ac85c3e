"""Send the API requests that its OpenAPI document allows and forbids, and check that it never fails.

`make fuzz-api MINUTES=5` sends requests for that long; a test runs a short form. Behind the API are real folders, a
real queue and a worker's loop with an engine that cuts out by colour.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import hypothesis
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.equipment.api import TOKEN, ApiUnderTest, running_api
from watcher.web.api import openapi

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
_LONGEST_QUERY = 50_000
"""Longer heads of requests end their connection, which tests/integration/test_web_timeouts.py shows."""
EXAMPLES = 50
"""Requests of one kind in a row."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""What must hold for every answer: no 5xx, and the status, the media type, the headers and the body of the document."""


def _pictures() -> list[bytes]:
    """Valid pictures and damaged ones."""
    image = Image.new("RGB", (24, 16), "white")
    image.paste("navy", (6, 4, 18, 12))
    found = []
    for format in ("PNG", "JPEG", "WEBP", "GIF"):
        file = io.BytesIO()
        image.save(file, format)
        found.append(file.getvalue())
    return [*found, found[0][:60], found[1][:-40], b"", b"hello"]


PICTURES = st.one_of(st.sampled_from(_pictures()), st.binary(max_size=200))


def register() -> None:
    """Register with schemathesis what a file is, for the whole process."""
    schemathesis.openapi.format("binary", PICTURES)
    schemathesis.openapi.format("byte", PICTURES.map(lambda data: base64.b64encode(data).decode()))
    for kind in ("png", "jpeg", "webp", "avif", "tiff", "gif", "bmp"):
        schemathesis.openapi.media_type(f"image/{kind}", PICTURES)
    schemathesis.openapi.media_type("application/octet-stream", PICTURES)


def kinds_of_requests(document: Mapping[str, object]) -> Iterator[tuple[Operation, GenerationMode]]:
    """Every operation, with valid requests, and with invalid ones where the document leaves anything to be wrong."""
    for operation in _operations(document):
        yield operation, GenerationMode.POSITIVE
    for operation in _operations(_without_files(document)):
        if operation.body or any(True for _ in operation.iter_parameters()):
            yield operation, GenerationMode.NEGATIVE


def _operations(document: Mapping[str, object]) -> Iterator[Operation]:
    """The operations of a document, but for the stream of events, which has no end."""
    schema: BaseSchema = schemathesis.openapi.from_dict(dict(document))
    for found in schema.get_all_operations():
        if isinstance(found, Err):
            raise found.err()
        if found.ok().path != "/v1/events":
            yield found.ok()


def _without_files(value: Any) -> Any:
    """The document with texts in place of files: schemathesis cannot check whether a form with bytes is wrong."""
    if isinstance(value, Mapping):
        kept = {key: _without_files(part) for key, part in value.items()}
        if kept.get("format") in ("binary", "byte"):
            del kept["format"]
        return kept
    return [_without_files(part) for part in value] if isinstance(value, list) else value


def fuzz(
    operation: Operation,
    mode: GenerationMode,
    examples: int,
    base_url: str,
    headers: Mapping[str, str],
    item: str = "",
) -> None:
    """Send this many requests, valid or not by `mode`. Raises what is wrong with an answer.

    Valid ones concern the `item`, if there is one: of items with other ids there are none.
    """
    known = {"id": item} if item and "{id}" in operation.path and mode is GenerationMode.POSITIVE else None
    requests = operation.as_strategy(generation_mode=mode, path_parameters=known)

    @hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(case=requests)
    def send(case: Case[Operation]) -> None:
        hypothesis.assume(len(urlencode(case.query or {}, errors="replace")) < _LONGEST_QUERY)
        response = case.call(base_url=base_url, headers=dict(headers))
        case.validate_response(response, checks=list(CHECKS))

    run: Callable[[], None] = send
    run()


def main() -> int:
    """Fuzz every operation in turn until the time is over; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    minutes = parser.parse_args().minutes
    register()
    with tempfile.TemporaryDirectory() as folder, running_api(Path(folder), api_timeout=5) as api:
        item = api.client.post("/v1/cutouts?wait", files={"image_file": ("a.png", _pictures()[0])}).headers["location"]
        work = list(kinds_of_requests(openapi.document()))
        return _fuzz_all(work, time.monotonic() + 60 * minutes, api, item.rpartition("/")[2])


def _fuzz_all(work: Sequence[tuple[Operation, GenerationMode]], until: float, api: ApiUnderTest, item: str) -> int:
    failures, sent = dict[str, BaseException](), 0
    while time.monotonic() < until:
        for operation, mode in work:
            name = f"{operation.label}, {mode.value}"
            try:
                fuzz(operation, mode, EXAMPLES, str(api.client.base_url), {"x-api-key": TOKEN}, item)
                sent += EXAMPLES
            except (Exception, BaseExceptionGroup) as error:
                failures[name] = error
            print(f"{'failed' if name in failures else 'ok':<7} {name}", flush=True)
    for name, failure in failures.items():
        print(f"\n{name}:")
        traceback.print_exception(failure)
    print(f"\n{sent:,} requests, {len(failures)} kinds of failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
