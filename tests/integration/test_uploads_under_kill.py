"""What was uploaded is not lost: the daemon is killed, its queue and its list are deleted."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

from tests.equipment.daemon import Daemon, Folders, colour, photo, shows

UPLOADS = 10


def request(daemon: Daemon, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)) as connection:
        connection.request(method, path, body, {"content-type": "image/png"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def items(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """The items of the batch, by their names."""
    status, answer = request(daemon, "GET", "/v1/cutouts?batch=killed&limit=500")
    assert status == 200
    return {item["name"]: item for item in answer["items"]}


def names() -> set[str]:
    return {f"sub/{number}.png" for number in range(UPLOADS)}


def test_a_killed_daemon_loses_no_upload_and_a_deleted_list_comes_back(folders: Folders) -> None:
    with Daemon(folders, "--page", model="fake:delay=2") as daemon:
        daemon.until(lambda: request(daemon, "GET", "/v1/cutouts")[0] == 200, "the API never answers")
        for number in range(UPLOADS):
            path = f"/v1/cutouts?batch=killed&path=sub/{number}.png"
            daemon.until(lambda: _sent(daemon, path, number), "the upload is never taken")  # noqa: B023
        daemon.until(lambda: folders.in_flight(), "no upload is ever in flight")
        assert set(items(daemon)) == names()
    assert not folders.all_done(), "the daemon was to be killed in the middle"

    with Daemon(folders, "--page") as daemon:
        daemon.until(lambda: _all_done(daemon), "what was uploaded before the kill is never done")
        ids = {name: item["id"] for name, item in items(daemon).items()}
        assert daemon.stop() == 0
    for number in range(UPLOADS):
        assert shows(folders.sink / "uploads" / "killed" / "sub" / f"{number}.png", colour(number))

    for file in folders.state.iterdir():
        file.unlink()
    with Daemon(folders, "--page") as daemon:
        daemon.until(lambda: _all_done(daemon), "the list never comes back")
        assert {name: item["id"] for name, item in items(daemon).items()} == ids
        assert all(item["outputs"][0]["bytes"] for item in items(daemon).values())
        assert not daemon.written(), "nothing was made twice"


def _sent(daemon: Daemon, path: str, number: int) -> bool:
    status, answer = request(daemon, "POST", path, photo(colour(number)))
    assert status in (202, 503), answer
    return status == 202


def _all_done(daemon: Daemon) -> bool:
    found = items(daemon)
    return set(found) == names() and {item["status"] for item in found.values()} == {"done"}
