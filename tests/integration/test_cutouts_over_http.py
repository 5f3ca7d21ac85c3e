"""What the page asks for, over real HTTP: uploads, lists, pictures, decisions, archives and events."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.equipment.api import TOKEN, ApiUnderTest, picture, running_api
from tests.equipment.moto import moto_server, use_credentials
from tests.equipment.support import STUCK, Call, wait_until
from watcher.core.jobs import Outcome
from watcher.protocol import ImageReport
from watcher.stores.decisions import Verdict, read_decisions, write_decision
from watcher.stores.local import LocalStore

_numbers = count(20_000)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    with running_api(tmp_path_factory.mktemp("page"), upload_limit=0.5) as api:
        yield api


def upload(api: ApiUnderTest, path: str, batch: str, data: bytes | None = None) -> dict[str, Any]:
    """Upload a picture, a new one unless it is given; returns its item as it is then."""
    address = f"/v1/cutouts?path={path}&batch={batch}"
    content = picture(next(_numbers)) if data is None else data
    response = api.client.post(address, content=content, headers={"content-type": "image/png"})
    assert response.status_code == 202, response.text
    return dict(response.json())


def item(api: ApiUnderTest, id: str) -> dict[str, Any]:
    return dict(api.client.get(f"/v1/cutouts/{id}").json())


def finished(api: ApiUnderTest, id: str, status: str = "done") -> dict[str, Any]:
    wait_until(lambda: item(api, id)["status"] == status, STUCK, f"it is never {status}")
    return item(api, id)


def problem(response: httpx.Response) -> str:
    """Status and code of an error, whose shape is right."""
    [error] = response.json()["errors"]
    assert set(error) == {"title", "code", "detail"} and all(error.values())
    assert response.headers["x-content-type-options"] == "nosniff"
    return f"{response.status_code} {error['code']}"


# Uploads


def test_two_pictures_of_one_name_are_both_kept(api: ApiUnderTest) -> None:
    first, second = upload(api, "same/x.png", "twins"), upload(api, "same/x.png", "twins")
    third = upload(api, "same/x.webp", "twins")
    assert [one["name"] for one in (first, second, third)] == ["same/x.png", "same/x-2.png", "same/x-3.webp"]
    outputs = {finished(api, one["id"])["outputs"][0]["key"] for one in (first, second, third)}
    assert len(outputs) == 3 and outputs <= api.outputs


def test_of_uploads_that_come_at_once_under_one_name_each_is_kept(api: ApiUnderTest) -> None:
    pictures = [picture(next(_numbers)) for _ in range(8)]
    with ThreadPoolExecutor(8) as clients:
        items = list(clients.map(lambda data: upload(api, "crowd.png", "crowd", data), pictures))
    source = Path(api.settings.source)
    assert [(source / one["key"]).read_bytes() for one in items] == pictures
    for one in items:
        finished(api, one["id"])


def test_the_same_bytes_again_are_the_same_upload(api: ApiUnderTest) -> None:
    data = picture(next(_numbers))
    first = upload(api, "x.png", "again", data)
    finished(api, first["id"])
    second = upload(api, "x.png", "again", data)
    assert second["id"] == first["id"] and second["status"] == "done"
    assert [key for key in api.sources if key.startswith("uploads/again/")] == ["uploads/again/x.png"]


def test_an_output_of_somebody_else_is_not_written_over(api: ApiUnderTest) -> None:
    theirs = Path(api.settings.sink) / "uploads" / "theirs" / "x.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    ours = finished(api, upload(api, "x.png", "theirs")["id"])
    assert ours["outputs"][0]["key"] == "uploads/theirs/x-2.png" and theirs.read_bytes() == b"theirs"


def multipart(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> Callable[[ApiUnderTest], httpx.Response]:
    start = b"--b\r\ncontent-disposition: form-data; "
    body = b"".join(start + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return lambda api: api.client.post("/v1/cutouts", content=body + end, headers=headers)


def raw(data: bytes, kind: str = "image/png", **query: str) -> Callable[[ApiUnderTest], httpx.Response]:
    headers = {"content-type": kind}
    return lambda api: api.client.post("/v1/cutouts", params=query, content=data, headers=headers)


FILE = ('name="image_file"; filename="x.png"', picture(19_999))


@pytest.mark.parametrize(
    ("send", "wanted"),
    [
        (raw(b"<html></html>"), "415 not_a_picture"),
        (raw(b""), "400 no_image"),
        (raw(picture(), "text/html"), "415 unsupported_media_type"),
        (raw(picture(), "application/json"), "415 unsupported_media_type"),
        (raw(bytes(600_000)), "413 too_large"),
        (raw(picture(), path="../x.png"), "400 bad_path"),
        (raw(picture(), path="%2e%2e/x.png\0"), "400 bad_path"),
        (raw(picture(), batch="../up"), "400 bad_batch"),
        (multipart(), "400 no_image"),
        (multipart(('name="batch"', b"b")), "400 no_image"),
        (multipart(FILE, FILE), "400 two_files"),
        (multipart(FILE, ('name="path"', b"p" * 9000)), "400 bad_form"),
        (multipart(FILE, *[('name="x"', b"")] * 70), "400 bad_form"),
        (multipart(FILE, ('name="' + "n" * 9000 + '"', b"")), "400 bad_form"),
        (multipart(FILE, end=b""), "400 bad_form"),
        (multipart(FILE, ('name="path"', b"a/../../b.png")), "400 bad_path"),
        (multipart(('name="image_file"; filename="x.png"', b"x" * 550_000)), "413 too_large"),
        (multipart(('name="image_file"; filename="../../evil.html"', b"<script>")), "415 not_a_picture"),
    ],
)
def test_a_bad_upload_is_refused_in_the_same_way(
    send: Callable[[ApiUnderTest], httpx.Response], wanted: str, api: ApiUnderTest
) -> None:
    before = api.sources
    assert problem(send(api)) == wanted
    assert api.sources == before


def test_the_folders_of_a_forms_file_name_are_left_out(api: ApiUnderTest) -> None:
    files = {"image_file": ("C:\\pictures\\..\\shoe.png", picture(next(_numbers)))}
    key = api.client.post("/v1/cutouts", files=files, data={"batch": "form"}).json()["key"]
    assert key == "uploads/form/shoe.png"


def test_an_upload_that_announces_too_much_is_refused_before_it_is_read(api: ApiUnderTest) -> None:
    def body() -> Iterator[bytes]:
        raise AssertionError("nobody may ask for the body")
        yield b""

    headers = {"content-type": "image/png", "content-length": "999999999"}
    request = api.client.build_request("POST", "/v1/cutouts", content=body(), headers=headers)
    assert int(request.headers["content-length"]) == 999_999_999
    with pytest.raises(AssertionError, match="nobody may ask"):
        api.client.send(request)


# Lists and pictures


def test_lists_come_in_parts_and_are_searched(api: ApiUnderTest) -> None:
    ids = [upload(api, f"Shoe%20{number}.png", "listed")["id"] for number in range(5)]
    for id in ids:
        finished(api, id)
    found, cursor = [], ""
    while True:
        answer = api.client.get(f"/v1/cutouts?batch=listed&limit=2&cursor={cursor}").json()
        found += [one["id"] for one in answer["items"]]
        assert answer["total"] == 5
        if not (cursor := answer["next"]):
            break
    assert found == ids[::-1]
    names = [one["name"] for one in api.client.get("/v1/cutouts?query=SHOE 3&batch=listed").json()["items"]]
    assert names == ["Shoe 3.png"]


def test_the_review_lane_is_worst_first_and_without_what_is_decided(api: ApiUnderTest) -> None:
    for number, score in ((1, 0.9), (2, 0.2), (3, 0.5)):
        key = f"lane/{number}.jpg"
        report = ImageReport(key=key, job=f"j{number}", outcome=Outcome.WRITTEN, confidence=score, doubts=["edge"])
        api.frontend.take_report("cpu", report)
    lane = "/v1/cutouts?order=worst&decision=none&query=lane/"
    items = api.client.get(lane).json()["items"]
    assert [one["score"] for one in items] == [0.2, 0.5, 0.9] and items[0]["doubts"] == ["edge"]
    assert api.client.post(f"/v1/cutouts/{items[0]['id']}/accept").json()["decision"] == "accepted"
    assert len(api.client.get(lane).json()["items"]) == 2


@pytest.mark.parametrize(
    "query", ["status=lost", "order=best", "limit=x", "cursor=x", "cursor=%F0", "limit=" + "9" * 5000]
)
def test_a_wrong_list_is_refused(query: str, api: ApiUnderTest) -> None:
    assert problem(api.client.get(f"/v1/cutouts?{query}")) == "400 bad_query"


@pytest.mark.parametrize("path", ["", "/original", "/thumbnail", "/outputs/cutout", "/outputs/..%2f..%2fetc"])
@pytest.mark.parametrize("id", ["x", "..%2f..%2fetc", "A" * 300, "%00"])
def test_what_is_not_there_is_not_found(id: str, path: str, api: ApiUnderTest) -> None:
    assert problem(api.client.get(f"/v1/cutouts/{id}{path}")) == "404 not_found"


def test_pictures_are_pictures_whatever_their_name_is(api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "page.html", "safe")["id"])
    for address in (one["original"], one["outputs"][0]["url"], one["thumbnail"], one["thumbnail"] + "&of=original"):
        response = api.client.get(address)
        assert response.status_code == 200 and response.headers["content-type"].startswith("image/")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        Image.open(io.BytesIO(response.content)).load()
        cached = api.client.get(address, headers={"if-none-match": response.headers["etag"]})
        assert (cached.status_code, cached.content) == (304, b"")
    saved = api.client.get(one["original"] + "?download=1")
    assert saved.headers["content-disposition"].startswith("attachment; filename=page.html.png")
    assert "sandbox" in saved.headers["content-security-policy"]


def test_an_original_that_is_gone_is_said_to_be(api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "x.png", "moved")["id"])
    (Path(api.settings.source) / one["key"]).unlink()
    assert problem(api.client.get(one["original"])) == "404 not_found"
    assert api.client.get(one["outputs"][0]["url"]).status_code == 200


def test_the_archive_has_every_result_of_a_batch(api: ApiUnderTest) -> None:
    ids = [upload(api, path, "zipped")["id"] for path in ("a.png", "sub/a.png", "größe.png")]
    outputs = {one["name"]: one["outputs"][0]["url"] for one in (finished(api, id) for id in ids)}
    response = api.client.get("/v1/archive?batch=zipped")
    assert "attachment; filename=zipped.zip" in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {name: api.client.get(url).content for name, url in outputs.items()}
    some = api.client.get(f"/v1/archive?ids={ids[1]},{ids[2]}")
    assert set(zipfile.ZipFile(io.BytesIO(some.content)).namelist()) == {"zipped/sub/a.png", "zipped/größe.png"}
    assert problem(api.client.get("/v1/archive?ids=unknown")) == "404 not_found"


# Decisions


def test_a_decision_is_the_one_of_the_command(api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "x.png", "decided")["id"])
    sink = LocalStore(Path(api.settings.sink))
    for verdict in (Verdict.ACCEPTED, Verdict.REJECTED):
        word = "accept" if verdict is Verdict.ACCEPTED else "reject"
        assert api.client.post(f"/v1/cutouts/{one['id']}/{word}").json()["decision"] == verdict
        [decision] = [decision for decision in read_decisions(sink) if decision.key == one["key"]]
        assert decision.verdict is verdict and decision.confidence is None
    assert item(api, one["id"])["decision"] == "rejected"
    write_decision(sink, replace(decision, verdict=Verdict.ACCEPTED))  # as the command does
    assert item(api, one["id"])["decision"] == "accepted"
    assert api.client.get("/v1/cutouts?batch=decided").json()["items"][0]["decision"] == "accepted"


def test_a_rejected_picture_is_retried_once_its_cause_is_gone(api: ApiUnderTest) -> None:
    broken = picture(next(_numbers), "JPEG")[:-200]
    one = finished(api, upload(api, "broken.jpg", "retried", broken)["id"], "rejected")
    assert one["reason"] == "truncated" and one["message"] and one["outputs"] == []
    assert api.client.get("/v1/status").json()["failures"][0]["id"] == one["id"]
    (Path(api.settings.source) / one["key"]).write_bytes(picture(next(_numbers), "JPEG"))
    assert api.client.post(f"/v1/cutouts/{one['id']}/retry").status_code == 202
    assert finished(api, one["id"])["reason"] is None
    assert not (Path(api.settings.sink) / "_failed" / (one["key"] + ".json")).exists()
    assert problem(api.client.post(f"/v1/cutouts/{one['id']}/retry")) == "409 not_rejected"


def test_what_waits_can_be_neither_decided_nor_made_again(api: ApiUnderTest) -> None:
    with api.busy():
        id = upload(api, "x.png", "waiting")["id"]
        waiting = api.client.get(f"/v1/cutouts/{id}/thumbnail")
        assert waiting.headers["content-type"] == "image/webp", "it shows the original"
        assert problem(api.client.get(f"/v1/cutouts/{id}/thumbnail?of=output")) == "404 not_found"
        assert problem(api.client.get(f"/v1/cutouts/{id}/thumbnail?of=x")) == "400 bad_query"
        for word in ("accept", "reject", "redo"):
            body = {"model": "fake"} if word == "redo" else None
            assert problem(api.client.post(f"/v1/cutouts/{id}/{word}", json=body)) == "409 not_done"
    finished(api, id)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", "422 nothing_to_redo"),
        (b'{"model": "/etc/passwd"}', "422 unknown_model"),
        (b'{"model": "../../x.onnx"}', "422 unknown_model"),
        (b'{"preset": "none"}', "422 unknown_preset"),
        (b'{"model": ["nano"]}', "400 bad_json"),
        (b"[1]", "400 bad_json"),
        (b"[" * 5000, "400 bad_json"),
        (b'{"model": "' + b"x" * 9000 + b'"}', "413 too_large"),
    ],
)
def test_a_wrong_redo_is_refused(body: bytes, wanted: str, api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "x.png", "redone", picture(5))["id"])
    assert problem(api.client.post(f"/v1/cutouts/{one['id']}/redo", content=body)) == wanted


def test_a_finished_picture_gets_one_more_output(api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "x.png", "preset")["id"])
    asked = api.client.post(f"/v1/cutouts/{one['id']}/redo", json={"preset": "shopify"})
    assert (asked.status_code, asked.json()["status"]) == (202, "running")
    done = finished(api, one["id"])
    assert done["thumbnail"] != one["thumbnail"], "what was cached is out of date"
    assert done["message"] is None and [output["name"] for output in done["outputs"]] == ["cutout", "shopify"]
    shop = Image.open(io.BytesIO(api.client.get(done["outputs"][1]["url"]).content))
    assert shop.format == "JPEG" and done["outputs"][1]["width"] == shop.width


# Events and status


def test_who_watches_sees_an_upload_become_done(api: ApiUnderTest) -> None:
    seen: list[tuple[str, str]] = []
    with api.client.stream("GET", "/v1/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        id = ""
        for line in lines:
            if line == "event: status":
                assert json.loads(next(lines).removeprefix("data: "))["outputs"] == ["cutout"]
                id = id or upload(api, "x.png", "watched")["id"]
            elif line == "event: item":
                one = json.loads(next(lines).removeprefix("data: "))
                seen += [(one["id"], one["status"])] if one["id"] == id else []
                if one["id"] == id and one["status"] == "done":
                    break
    assert seen[-1] == (id, "done")


def test_the_server_stops_at_once_although_somebody_watches(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, api.client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        api.frontend.stop()
        list(lines)  # to its end


# Access


def test_a_session_serves_pictures_and_needs_the_pages_header_for_changes(api: ApiUnderTest) -> None:
    one = finished(api, upload(api, "x.png", "session")["id"])
    with httpx.Client(base_url=api.client.base_url, trust_env=False, timeout=STUCK) as browser:
        assert browser.get("/v1/session").json() == {"required": True, "signed_in": False}
        assert problem(browser.get(one["thumbnail"])) == "401 unauthorized"
        assert problem(browser.post("/v1/session", json={"token": "wrong"})) == "401 unauthorized"
        assert problem(browser.post("/v1/session", json={"token": 5})) == "400 bad_json"
        assert browser.post("/v1/session", json={"token": TOKEN}).json() == {"signed_in": True}
        assert browser.get("/v1/session").json()["signed_in"]
        assert browser.get(one["thumbnail"]).status_code == 200
        accept = f"/v1/cutouts/{one['id']}/accept"
        assert problem(browser.post(accept)) == "403 page_header_missing"
        assert browser.post(accept, headers={"x-alphadrop": "page"}).status_code == 200
        assert problem(browser.get("/v1/status", headers={"origin": "https://evil.example"})) == "403 foreign_origin"
        browser.delete("/v1/session")
        assert problem(browser.get("/v1/status")) == "401 unauthorized"


def test_every_address_needs_the_token(api: ApiUnderTest) -> None:
    open_addresses = {"/v1/session", "/v1/openapi.json"}
    with httpx.Client(base_url=api.client.base_url, trust_env=False, timeout=STUCK) as stranger:
        for route in api.frontend.routes():
            for method in route.methods or ():
                if route.path not in open_addresses:
                    address = route.path.replace("{id}", "x").replace("{name}", "y")
                    assert stranger.request(method, address).status_code in (401, 403), (method, address)


@pytest.mark.parametrize(("method", "path", "wanted"), [("GET", "/v1/x", "404"), ("PUT", "/v1/cutouts", "405")])
def test_what_there_is_not_has_the_shape_of_errors_too(method: str, path: str, wanted: str, api: ApiUnderTest) -> None:
    assert problem(api.client.request(method, path)).startswith(wanted)


# Elsewhere


def test_before_source_and_queue_are_open_clients_are_told_to_come_back(api: ApiUnderTest) -> None:
    backend, api.frontend.cutouts._backend = api.frontend.cutouts._backend, None
    try:
        response = api.client.post("/v1/cutouts", content=picture(), headers={"content-type": "image/png"})
        assert problem(response) == "503 unavailable" and response.headers["retry-after"]
        assert api.client.get("/v1/cutouts?limit=1").status_code == 200, "the list needs neither"
    finally:
        api.frontend.cutouts._backend = backend


def test_with_workers_elsewhere_the_sink_says_what_became_of_an_image(tmp_path: Path) -> None:
    with running_api(tmp_path, is_heard=False) as api:
        good = upload(api, "x.png", "far")["id"]
        bad = upload(api, "y.jpg", "far", picture(7, "JPEG")[:-200])["id"]
        assert finished(api, good)["outputs"][0]["bytes"] > 0
        assert finished(api, bad, "rejected")["reason"] == "truncated"
        (Path(api.settings.source) / "uploads" / "far" / "y.jpg").write_bytes(picture(8, "JPEG"))
        assert api.client.post(f"/v1/cutouts/{bad}/retry").status_code == 202
        assert finished(api, bad)["status"] == "done"


def test_source_and_sink_may_be_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)
    moto = moto_server()
    bucket = moto.bucket()
    source, sink = f"s3://{bucket}/in", f"s3://{bucket}/out"
    with running_api(tmp_path, source=source, sink=sink, s3_endpoint=moto.endpoint) as api:
        one = finished(api, upload(api, "sub/größe.png", "bucket")["id"])
        assert one["outputs"][0]["key"] == "uploads/bucket/sub/größe.png"
        assert api.client.get(one["outputs"][0]["url"]).content.startswith(b"\x89PNG")
        assert upload(api, "sub/größe.png", "bucket")["name"] == "sub/größe-2.png"
        names = zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/archive?ids={one['id']}").content)).namelist()
        assert names == ["bucket/sub/größe.png"]
        head = moto.client().head_object(Bucket=bucket, Key="in/uploads/bucket/sub/größe.png")
        assert head["ContentType"] == "image/png"


def test_the_command_lists_what_the_page_has_decided(tmp_path: Path, call: Call) -> None:
    with running_api(tmp_path) as api:
        one = finished(api, upload(api, "x.png", "b")["id"])
        api.client.post(f"/v1/cutouts/{one['id']}/accept")
        shutil.copytree(api.settings.sink, tmp_path / "copy")
    assert call("review", tmp_path / "copy", "--all").code == 0
