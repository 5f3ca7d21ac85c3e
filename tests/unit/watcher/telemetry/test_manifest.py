"""The manifest: lines that are whole, in a file that only grows, and in a bucket."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from watcher.core.errors import Unavailable
from watcher.core.jobs import Outcome
from watcher.core.reasons import Reason
from watcher.protocol import ImageReport, OutputReport
from watcher.telemetry.manifest import BucketManifest, FileManifest, ManifestWriter, manifest_line
from watcher.testing import MemoryStore

OUTPUT = OutputReport(
    name="shop", key="shop/a.jpg", format="jpeg", bytes=10, width=4, height=3, box=(0, 1, 2, 3), sha256="f" * 64
)
WRITTEN = ImageReport(key="a.png", job="b" * 64, outcome=Outcome.WRITTEN, coverage=0.25, outputs=[OUTPUT])
REJECTED = ImageReport(key="b.png", job="c", outcome=Outcome.REJECTED, reason=Reason.TRUNCATED, detail="It ends early.")


def add_many(path: Path, mark: int) -> None:
    manifest = FileManifest(path)
    for number in range(50):
        manifest.add(json.dumps({"writer": mark, "number": number, "padding": "x" * 5000}).encode() + b"\n")


def test_a_line_has_the_outputs_or_the_reason() -> None:
    written = json.loads(manifest_line("file:///in", "file:///out", WRITTEN))
    assert written.pop("time").endswith("Z")
    assert written == {
        "key": "a.png",
        "status": "written",
        "source": "file:///in",
        "sink": "file:///out",
        "job": "b" * 64,
        "matte_coverage": 0.25,
        "outputs": [
            {
                "name": "shop",
                "key": "shop/a.jpg",
                "format": "jpeg",
                "bytes": 10,
                "width": 4,
                "height": 3,
                "box": [0, 1, 2, 3],
                "sha256": "f" * 64,
            }
        ],
    }
    rejected = json.loads(manifest_line("in", "out", REJECTED))
    assert (rejected["status"], rejected["reason"], rejected["detail"]) == ("rejected", "truncated", "It ends early.")
    assert "matte_coverage" not in rejected, "what is not known is not zero"


def test_lines_of_several_processes_are_whole_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add_many, args=(path, mark)) for mark in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((line["writer"], line["number"]) for line in lines) == [(w, n) for w in range(3) for n in range(50)]


def test_a_line_that_a_power_cut_has_broken_off_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'{"whole": 1}\n{"bro')
    FileManifest(path).add(b'{"next": 1}\n')
    assert path.read_bytes() == b'{"whole": 1}\n{"bro\n{"next": 1}\n'


def test_a_disk_that_is_full_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.jsonl"
    manifest = FileManifest(path)
    manifest.add(b'{"whole": 1}\n')
    write = os.write

    def write_half(fd: int, data: bytes) -> int:
        write(fd, bytes(data)[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(Unavailable, match="No space left"):
        manifest.add(b'{"lost": 1}\n')
    assert path.read_bytes() == b'{"whole": 1}\n'


def test_a_folder_that_is_gone_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="manifest"):
        FileManifest(tmp_path / "gone" / "manifest.jsonl").add(b"{}\n")


def test_a_bucket_gets_an_object_for_each_line_in_the_order_of_time() -> None:
    store = MemoryStore()
    writer = ManifestWriter(BucketManifest(store), "in", "out")
    for report in (WRITTEN, REJECTED, WRITTEN):
        writer.add(report)
    writer.add(ImageReport(key="c.png", job="d", outcome=Outcome.STALE))
    lines = [json.loads(store.read(ref)) for ref in store.list()]
    assert [line["key"] for line in lines] == ["a.png", "b.png", "a.png"]


def test_an_image_that_is_gone_is_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    ManifestWriter(FileManifest(path), "in", "out").add(ImageReport(key="c.png", job="d", outcome=Outcome.GONE))
    assert not path.exists()
