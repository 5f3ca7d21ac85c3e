"""The requests of programs, over real HTTP and through the real queue."""

from __future__ import annotations

import base64
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.equipment.api import BOX, SIZE, TOKEN, ApiUnderTest, picture, running_api
from tests.equipment.support import STUCK, wait_until
from watcher.telemetry.metrics.labels import API_ROUTES
from watcher.web.api import openapi
from watcher.web.api.fetching import Fetcher, Refused

REMOVEBG, REMBG = "/v1.0/removebg", "/api/remove"
FOREGROUND = {"left": BOX[0], "top": BOX[1], "width": BOX[2] - BOX[0], "height": BOX[3] - BOX[1]}
_numbers = count(1)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("api")) as api:
        yield api


def new_picture() -> bytes:
    return picture(next(_numbers))


def post(api: ApiUnderTest, address: str, field: str = "image_file", **fields: str) -> httpx.Response:
    """Send a new picture in a form."""
    return api.client.post(address, files={field: ("shoe.png", new_picture())}, data=fields)


def shown(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def problem(response: httpx.Response, status: int) -> str:
    """The code of an error, whose shape is right."""
    assert response.status_code == status, response.text
    [error] = response.json()["errors"]
    assert set(error) == {"title", "code", "detail"} and all(error.values())
    return str(error["code"])


def done(api: ApiUnderTest, address: str) -> dict[str, Any]:
    """The item, once it is done."""
    wait_until(lambda: api.client.get(address).json()["status"] == "done", STUCK, "it is never done")
    return dict(api.client.get(address).json())


# POST /v1/cutouts


def test_an_upload_is_accepted_at_once_and_done_later(api: ApiUnderTest) -> None:
    response = post(api, "/v1/cutouts", batch="summer", path="shoes/1.png")
    assert response.status_code == 202
    item = done(api, response.headers["location"])
    assert item["key"] == "uploads/summer/shoes/1.png" and item["key"] in api.sources
    [output] = item["outputs"]
    assert shown(api.client.get(output["url"]).content).mode == "RGBA"


@pytest.mark.parametrize(
    ("query", "headers"), [("?wait=60", {}), ("?wait", {}), ("", {"prefer": "respond-async, wait=60"})]
)
def test_who_waits_gets_the_picture(query: str, headers: dict[str, str], api: ApiUnderTest) -> None:
    response = api.client.post(
        f"/v1/cutouts{query}", content=new_picture(), headers={"content-type": "image/png", **headers}
    )
    assert response.status_code == 200 and response.headers["content-type"] == "image/png"
    alpha = np.asarray(shown(response.content))[..., 3]
    assert alpha[BOX[1] : BOX[3], BOX[0] : BOX[2]].all() and alpha.sum() == 255 * 400
    assert api.client.get(response.headers["location"]).json()["status"] == "done"


def test_who_waits_and_prefers_json_gets_the_item(api: ApiUnderTest) -> None:
    files = {"image_file": ("a.png", new_picture())}
    response = api.client.post("/v1/cutouts?wait=60", files=files, headers={"accept": "application/json"})
    assert response.status_code == 200 and response.json()["status"] == "done"


def test_when_the_time_is_over_the_job_goes_on(api: ApiUnderTest) -> None:
    with api.busy():
        response = post(api, "/v1/cutouts?wait=0.05")
        assert response.status_code == 202 and int(response.headers["retry-after"]) >= 1
        assert response.json()["status"] in ("queued", "running")
    done(api, response.headers["location"])


def test_a_client_that_goes_away_frees_its_place_and_its_job_goes_on(api: ApiUnderTest) -> None:
    before, slots = api.outputs, api.frontend.service.cutting.slots
    body = new_picture()
    head = f"POST /v1/cutouts?wait=600 HTTP/1.1\r\nhost: x\r\nx-api-key: {TOKEN}\r\ncontent-type: image/png\r\n"
    with api.busy():
        with socket.create_connection((api.client.base_url.host, api.client.base_url.port or 0)) as connection:
            connection.sendall(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: slots.free < slots.most, STUCK, "the request never waits")
        wait_until(lambda: slots.free == slots.most, STUCK, "the place is never free again")
        assert api.outputs == before
    wait_until(lambda: len(api.outputs) == len(before) + 1, STUCK, "the job does not go on")


def test_a_picture_that_can_never_work_is_an_error_with_its_reason(api: ApiUnderTest) -> None:
    broken = new_picture()[:-30]
    response = api.client.post("/v1/cutouts?wait=60", content=broken, headers={"content-type": "image/png"})
    assert problem(response, 422) == "truncated"
    assert problem(api.client.post(REMOVEBG, files={"image_file": ("a.png", broken)}), 400) == "truncated"


def test_an_idempotency_key_makes_one_upload_of_many_requests(api: ApiUnderTest) -> None:
    first, other, key = new_picture(), new_picture(), {"idempotency-key": "order-17"}
    before = len(api.sources)
    answers = [api.client.post("/v1/cutouts", files={"image_file": ("a.png", first)}, headers=key) for _ in range(3)]
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    assert len(api.sources) == before + 1
    conflict = api.client.post("/v1/cutouts", files={"image_file": ("a.png", other)}, headers=key)
    assert problem(conflict, 409) == "idempotency_conflict"
    done(api, answers[0].headers["location"])
    again = api.client.post("/v1/cutouts?wait=60", files={"image_file": ("a.png", first)}, headers=key)
    assert again.status_code == 200 and len(api.sources) == before + 1


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?wait=soon", {}, "bad_wait"),
        ("?output=mask", {}, "bad_output"),
        ("", {"idempotency-key": "with space"}, "bad_idempotency_key"),
    ],
)
def test_a_wrong_parameter_is_refused_before_the_picture_is_read(
    query: str, headers: dict[str, str], code: str, api: ApiUnderTest
) -> None:
    before = api.sources
    response = api.client.post(f"/v1/cutouts{query}", content=new_picture(), headers=headers)
    assert problem(response, 400) == code and api.sources == before


# POST /v1.0/removebg


@pytest.mark.parametrize("way", ["file", "form", "json", "data address", "file as json"])
def test_a_plug_in_gets_its_picture_whichever_way_it_sends_one(way: str, api: ApiUnderTest) -> None:
    data, text = new_picture(), base64.b64encode(new_picture()).decode()
    requests: dict[str, dict[str, Any]] = {
        "file": {"files": {"image_file": ("a.png", data)}, "data": {"size": "auto", "bg_color": ""}},
        "form": {"data": {"image_file_b64": text, "size": "auto"}},
        "json": {"json": {"image_file_b64": text, "size": "auto", "crop": False}},
        "data address": {"json": {"image_file_b64": f"data:image/png;base64,{text}"}},
        "file as json": {"json": {"image_file": text}},
    }
    response = api.client.post(REMOVEBG, **requests[way])
    assert response.status_code == 200, response.text
    assert shown(response.content).size == SIZE
    headers = {name: int(response.headers[f"x-foreground-{name}"]) for name in FOREGROUND}
    assert headers == FOREGROUND
    assert (response.headers["x-width"], response.headers["x-height"]) == tuple(map(str, SIZE))
    assert response.headers["x-type"] == "other" and response.headers["x-credits-charged"] == "0"
    assert int(response.headers["x-ratelimit-limit"]) == api.settings.api_waits
    assert int(response.headers["x-ratelimit-remaining"]) > 0 and int(response.headers["x-ratelimit-reset"]) > 0


def test_the_answer_may_be_json(api: ApiUnderTest) -> None:
    files = {"image_file": ("a.png", new_picture())}
    response = api.client.post(REMOVEBG, files=files, headers={"accept": "application/json"}, data={"crop": "true"})
    data = response.json()["data"]
    assert shown(base64.b64decode(data.pop("result_b64"))).size == (20, 20)
    assert data == {f"foreground_{name}": value for name, value in FOREGROUND.items()}


@pytest.mark.parametrize(
    ("fields", "kind", "size", "mode"),
    [
        ({"format": "jpg"}, "image/jpeg", SIZE, "RGB"),
        ({"format": "webp"}, "image/webp", SIZE, "RGBA"),
        ({"bg_color": "fff"}, "image/jpeg", SIZE, "RGB"),
        ({"bg_color": "fff", "format": "png"}, "image/png", SIZE, "RGB"),
        ({"channels": "alpha"}, "image/png", SIZE, "L"),
        ({"crop": "true", "crop_margin": "10%"}, "image/png", (24, 24), "RGBA"),
        ({"scale": "50%", "type": "product"}, "image/png", SIZE, "RGBA"),
        ({"add_shadow": "true"}, "image/png", SIZE, "RGBA"),
        ({"roi": "0% 0% 50% 100%", "crop": "true"}, "image/png", (10, 20), "RGBA"),
    ],
)
def test_options_change_the_picture(
    fields: dict[str, str], kind: str, size: tuple[int, int], mode: str, api: ApiUnderTest
) -> None:
    response = post(api, REMOVEBG, **fields)
    assert response.status_code == 200, response.text
    image = shown(response.content)
    assert (response.headers["content-type"], image.size, image.mode) == (kind, size, mode)


def test_a_zip_has_colours_and_alpha_apart(api: ApiUnderTest) -> None:
    response = post(api, REMOVEBG, format="zip")
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert [shown(archive.read(name)).mode for name in ("color.jpg", "alpha.png")] == ["RGB", "L"]


def test_a_picture_can_be_the_background(api: ApiUnderTest) -> None:
    background = io.BytesIO()
    Image.new("RGB", (9, 9), (0, 255, 0)).save(background, "PNG")
    files = {"image_file": ("a.png", new_picture()), "bg_image_file": ("b.png", background.getvalue())}
    image = shown(api.client.post(REMOVEBG, files=files, data={"format": "png"}).content)
    assert image.getpixel((0, 0)) == (0, 255, 0) and image.getpixel((20, 15)) != (0, 255, 0)


@pytest.mark.parametrize(
    ("request_body", "status", "code"),
    [
        ({"data": {"size": "auto"}}, 400, "missing_source"),
        ({"json": {}}, 400, "missing_source"),
        ({"json": {"image_file_b64": "%%%"}}, 400, "invalid_image_file_b64"),
        ({"json": {"image_file_b64": 7}}, 400, "invalid_image_file_b64"),
        ({"json": {"image_file_b64": "aGVsbG8="}}, 400, "unknown_format"),
        ({"json": {"image_file_b64": "x", "image_url": "y"}}, 400, "multiple_sources"),
        ({"json": {"image_url": "https://shop.example/a.jpg"}}, 400, "invalid_image_url"),
        ({"json": {"image_file_b64": "x", "type": "car"}}, 400, "invalid_type"),
        ({"json": {"image_file_b64": "x", "bg_image_url": "y", "bg_color": "fff"}}, 400, "invalid_combination"),
        ({"json": [1]}, 400, "bad_json"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_json"),
        ({"content": b"a=%ff&a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 400, "bad_form"),
        ({"content": b"hello", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"headers": {"x-api-key": "wrong"}}, 403, "auth_failed"),
    ],
)
def test_what_a_plug_in_does_wrong_is_said(
    request_body: dict[str, Any], status: int, code: str, api: ApiUnderTest
) -> None:
    assert problem(api.client.post(REMOVEBG, **request_body), status) == code


def test_a_picture_without_an_object_is_refused_as_such_services_do(api: ApiUnderTest) -> None:
    file = io.BytesIO()
    Image.new("RGB", SIZE, "white").save(file, "PNG")
    response = api.client.post(REMOVEBG, files={"image_file": ("a.png", file.getvalue())})
    assert problem(response, 400) == "unknown_foreground"


def test_the_same_picture_again_is_the_same_upload(api: ApiUnderTest) -> None:
    data = new_picture()
    first = api.client.post(REMOVEBG, files={"image_file": ("a.png", data)})
    before = api.sources
    again = api.client.post(REMOVEBG, files={"image_file": ("a.png", data)}, data={"crop": "true"})
    assert first.status_code == again.status_code == 200 and api.sources == before


def test_an_address_is_fetched_where_that_is_switched_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(self: Fetcher, url: str) -> bytes:
        if "shop.example" not in url:
            raise Refused("its host is not in the public internet")
        return picture()

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    with running_api(tmp_path, api_urls=True) as api:
        for request in (
            api.client.post(REMOVEBG, json={"image_url": "https://shop.example/a.jpg"}),
            api.client.get(REMBG, params={"url": "https://shop.example/a.jpg"}),
        ):
            assert shown(request.content).size == SIZE
        refused = api.client.post(REMOVEBG, json={"image_url": "http://localhost/a.jpg"})
        assert problem(refused, 400) == "invalid_image_url"


# /api/remove


@pytest.mark.parametrize(
    ("fields", "mode"),
    [({}, "RGBA"), ({"om": "true"}, "L"), ({"bgc": "1,2,3,255"}, "RGB"), ({"model": "fake"}, "RGBA")],
)
def test_a_client_of_rembgs_server_gets_a_png(fields: dict[str, str], mode: str, api: ApiUnderTest) -> None:
    for response in (
        post(api, REMBG, "file", **fields),
        api.client.post(REMBG, params=fields, files={"file": ("a.png", new_picture())}),
    ):
        assert response.headers["content-type"] == "image/png", response.text
        assert (shown(response.content).mode, shown(response.content).size) == (mode, SIZE)


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("POST", {"model": "u2net"}, "invalid_model"),
        ("POST", {"ppm": "true"}, "invalid_ppm"),
        ("GET", {"url": "http://shop.example/"}, "invalid_url"),
        ("GET", {}, "missing_source"),
    ],
)
def test_what_rembgs_server_can_and_this_cannot_is_said(
    method: str, parameters: dict[str, str], code: str, api: ApiUnderTest
) -> None:
    body: dict[str, Any] = {"files": {"file": ("a.png", new_picture())}} if method == "POST" else {}
    assert problem(api.client.request(method, REMBG, params=parameters, **body), 400) == code


# Limits


def test_who_comes_when_all_places_are_taken_is_told_when_to_come_back(tmp_path: Path) -> None:
    with running_api(tmp_path, api_waits=1) as api:
        answers: list[httpx.Response] = []
        with api.busy():
            waiting = threading.Thread(target=lambda: answers.append(post(api, "/v1/cutouts?wait")))
            waiting.start()
            wait_until(lambda: not api.frontend.service.cutting.slots.free, STUCK, "the first never waits")
            for address, field in (("/v1/cutouts?wait", "image_file"), (REMOVEBG, "image_file"), (REMBG, "file")):
                response = post(api, address, field)
                assert problem(response, 429) == "rate_limit_exceeded" and int(response.headers["retry-after"]) >= 1
                assert address != REMOVEBG or response.headers["x-ratelimit-remaining"] == "0"
            assert post(api, "/v1/cutouts").status_code == 202  # who does not wait needs no place
        waiting.join(STUCK)
        assert answers[0].status_code == 200


def test_a_backlog_of_uploads_is_bounded(tmp_path: Path) -> None:
    with running_api(tmp_path, api_backlog=1) as api:
        with api.busy():
            waiting = api.frontend.cutouts.waiting
            for _ in range(4):  # as many as the worker takes at a time
                assert post(api, "/v1/cutouts").status_code == 202
                wait_until(lambda: waiting() == 0, STUCK, "the worker never takes it")
            assert post(api, "/v1/cutouts").status_code == 202
            response = post(api, "/v1/cutouts")
            assert problem(response, 429) == "backlog" and int(response.headers["retry-after"]) >= 1
        wait_until(lambda: waiting() == 0, STUCK, "the backlog never ends")
        assert post(api, "/v1/cutouts?wait").status_code == 200


def test_a_body_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with running_api(tmp_path, upload_limit=0.01) as api:
        long, picture_type = b"x" * 20_000, {"content-type": "image/png"}
        for answer in (
            api.client.post("/v1/cutouts", content=long, headers=picture_type),
            api.client.post("/v1/cutouts", content=iter([long[:15_000], long[:15_000]]), headers=picture_type),
            api.client.post(REMOVEBG, files={"image_file": ("a.png", long)}),
            api.client.post(REMOVEBG, data={"image_file_b64": base64.b64encode(long).decode()}),
        ):
            assert problem(answer, 413) == "too_large"
        assert post(api, "/v1/cutouts").status_code == 202


# Other daemons


def test_with_workers_elsewhere_the_picture_is_found_in_the_sink(tmp_path: Path) -> None:
    with running_api(tmp_path, is_heard=False) as api:
        assert shown(post(api, REMOVEBG).content).size == SIZE
        response = api.client.post(REMOVEBG, files={"image_file": ("a.png", new_picture()[:-30])})
        assert problem(response, 400) == "truncated"


def test_without_an_output_of_the_whole_picture_a_plug_in_is_told_so(tmp_path: Path) -> None:
    with running_api(tmp_path, preset=("amazon-main",)) as api:
        assert problem(post(api, REMOVEBG), 400) == "no_cutout"
        response = post(api, "/v1/cutouts?wait")
        assert response.status_code == 200 and response.headers["content-type"] == "image/jpeg"


# All of them


def test_requests_without_a_token_are_refused(api: ApiUnderTest) -> None:
    bare = httpx.Client(base_url=api.client.base_url, trust_env=False)
    with bare:
        assert problem(bare.post("/v1/cutouts"), 401) == "unauthorized"
        assert problem(bare.post(REMOVEBG), 403) == "auth_failed"
        assert problem(bare.post(REMBG), 401) == "unauthorized"
        assert bare.get(openapi.PATH).status_code == 200


def test_the_document_names_every_route_and_no_other(api: ApiUnderTest) -> None:
    served = {(route.path, method.lower()) for route in api.frontend.routes() for method in route.methods or ()}
    paths = api.client.get(openapi.PATH).json()["paths"]
    described = {(path, method) for path, methods in paths.items() for method in methods}
    assert described == {(path, method) for path, method in served if method != "head"}


def test_every_request_is_measured_under_a_label_of_its_own(api: ApiUnderTest) -> None:
    known = {route.path for route in api.frontend.routes()} - {"/v1/session", openapi.PATH}
    assert known <= set(API_ROUTES)
    before = api.metrics.registry.get_sample_value(
        "alphadrop_api_requests_total", {"method": "POST", "route": REMOVEBG, "outcome": "refused"}
    )
    api.client.post(REMOVEBG, json={})
    after = api.metrics.registry.get_sample_value(
        "alphadrop_api_requests_total", {"method": "POST", "route": REMOVEBG, "outcome": "refused"}
    )
    assert after == (before or 0) + 1
