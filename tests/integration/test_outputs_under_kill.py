"""Several outputs of an image, by the real command: killed between two of them, changed, and listed in a manifest."""

from __future__ import annotations

import hashlib
import json

import pytest
from PIL import Image

from tests.equipment.daemon import Daemon, Folders, colour, coloured, finish, shows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLAIN = ("--preset", "cutout,amazon-main")
WEB = ("--output", "webp,quality=80,trim,margin=10%")
KEYS = {"a.png", "amazon-main/a.jpg", "webp/a.webp"}


def versions(folders: Folders) -> dict[str, int]:
    """The inode of each output, which another one has when it was written again."""
    paths = (path for path in folders.sink.rglob("*") if path.is_file())
    return {path.relative_to(folders.sink).as_posix(): path.stat().st_ino for path in paths}


def test_only_what_is_missing_or_outdated_is_made(folders: Folders) -> None:
    coloured(folders.source / "a.png", colour(1))
    listing = folders.top / "manifest.jsonl"
    options = (*PLAIN, *WEB, "--manifest", str(listing))

    with Daemon(folders, *options, command="once", ALPHADROP_TEST_HOOK="kill-put:amazon-main") as killed:
        killed.until(lambda: killed.events("worker_died"), "no worker was killed between two outputs")
        killed.kill_group()
    before = versions(folders)
    assert before.keys() - {path.name for path in folders.temporary() if path.suffix == ".part"} == {"a.png"}
    assert not listing.exists(), "an image that lacks an output is not finished"

    again = finish(folders, *options)

    after = versions(folders)
    assert (again.wait(), again.written()) == (0, {"a.png": 1})
    assert after.keys() == KEYS and after["a.png"] == before["a.png"]
    assert shows(folders.sink / "a.png", colour(1))
    with Image.open(folders.sink / "amazon-main/a.jpg") as picture:
        assert (picture.format, picture.size, picture.getpixel((0, 0))) == ("JPEG", (2000, 2000), (255, 255, 255))
    (line,) = (json.loads(text) for text in listing.read_text().splitlines())
    assert (line["key"], line["status"]) == ("a.png", "written")
    assert {output["key"] for output in line["outputs"]} == KEYS
    for output in line["outputs"]:
        data = (folders.sink / output["key"]).read_bytes()
        assert (output["bytes"], output["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())

    other = finish(folders, *PLAIN, "--output", "webp,quality=60")

    changed = versions(folders)
    assert (other.wait(), other.written()) == (0, {"a.png": 1})
    assert {key for key in KEYS if changed[key] != after[key]} == {"webp/a.webp"}
    assert other.events("image")[0]["outputs"] == ["webp/a.webp"]
