"""Whatever the OpenAPI document allows or forbids is answered as it says. `make fuzz-api` tries longer."""

from __future__ import annotations

from pathlib import Path

from scripts.fuzz_api import fuzz, kinds_of_requests, register
from tests.equipment.api import TOKEN, picture, running_api
from watcher.web.api import openapi

EXAMPLES = 2


def test_any_request_is_answered_as_the_document_says(tmp_path: Path) -> None:
    register()
    with running_api(tmp_path, api_timeout=5) as api:
        item = api.client.post("/v1/cutouts?wait", files={"image_file": ("a.png", picture())}).headers["location"]
        for operation, mode in kinds_of_requests(openapi.document()):
            fuzz(operation, mode, EXAMPLES, str(api.client.base_url), {"x-api-key": TOKEN}, item.rpartition("/")[2])
