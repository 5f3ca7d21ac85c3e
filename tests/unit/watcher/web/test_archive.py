"""The zip file of results."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.web.archive import Entry, safe_path, zip_stream

FILES = {"a.png": b"first" * 1000, "sub/größe 👟.png": bytes(range(256)) * 50, "empty.png": b""}


def entries() -> Iterator[Entry]:
    return ((path, data, 1_700_000_000.0) for path, data in FILES.items())


def test_every_file_comes_out_as_it_went_in() -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_stream(entries())))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.getinfo("a.png").date_time == (2023, 11, 14, 22, 13, 20)


def test_sizes_stand_before_the_files_for_readers_of_streams() -> None:
    head = next(zip_stream(entries()))
    assert head[:4] == b"PK\x03\x04" and int.from_bytes(head[6:8], "little") & 8 == 0
    assert int.from_bytes(head[22:26], "little") == len(FILES["a.png"])


def test_a_piece_is_sent_before_the_next_file_is_read() -> None:
    read: list[str] = []

    def reading() -> Iterator[Entry]:
        for path, data, modified in entries():
            read.append(path)
            yield path, data, modified

    pieces = zip_stream(reading())
    assert next(pieces) and read == ["a.png"]


def test_a_zip_file_without_files_is_valid() -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_stream(())))) as archive:
        assert archive.namelist() == []


def test_another_program_unpacks_it(tmp_path: Path) -> None:
    (tmp_path / "all.zip").write_bytes(b"".join(zip_stream(entries())))
    subprocess.run([sys.executable, "-m", "zipfile", "-e", "all.zip", "out"], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "sub" / "größe 👟.png").read_bytes() == FILES["sub/größe 👟.png"]


PATHS = ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "C:\\b", "C:/b", "./a", "a//b", "\udc80/..", ""]


@pytest.mark.parametrize("key", PATHS)
def test_no_path_leads_out_of_the_folder(key: str) -> None:
    parts = safe_path(key).split("/")
    assert not {"", ".", ".."} & set(parts) and not {"\\", ":"} & set(safe_path(key))
    safe_path(key).encode()
