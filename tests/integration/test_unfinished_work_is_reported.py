"""Pictures that may not be read, or need a package, are counted and named; nothing is left out in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.equipment.daemon import Folders, UsersDaemon, colour, coloured
from tests.equipment.encoded_pictures import photo
from tests.equipment.odd_files import heic
from tests.equipment.support import ROOT, alphadrop, alphadrop_as_user, error_records, files_below

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def heic_files(source: Path) -> None:
    source.mkdir()
    for name in ("IMG_1.HEIC", "IMG_2.heif"):
        (source / name).write_bytes(heic(Image.fromarray(photo())))


def test_a_folder_of_heic_is_cut_out(tmp_path: Path) -> None:
    heic_files(tmp_path / "phone")
    done = alphadrop("once", "phone", "out", "--state", "state", "--model", "fake", cwd=tmp_path)
    assert (done.code, done.words("written")[:2]) == (0, ["written", "2"])
    assert files_below(tmp_path / "out") == {"IMG_1.png", "IMG_2.png"}


def test_without_the_package_for_heic_and_with_a_folder_that_is_shut_all_of_that_is_told(tmp_path: Path) -> None:
    heic_files(tmp_path / "phone")
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / "pillow_heif.py").write_text("raise ImportError\n", "utf-8")
    coloured(tmp_path / "phone" / "shut" / "x.png", colour(1))
    (tmp_path / "phone" / "shut").chmod(0)
    try:
        done = alphadrop_as_user(
            "once", "phone", "out", "--state", "state", "--model", "fake", cwd=tmp_path,
            PYTHONPATH=os.pathsep.join([str(tmp_path / "missing"), str(ROOT)]),
        )  # fmt: skip
    finally:
        (tmp_path / "phone" / "shut").chmod(0o755)
    assert done.code == 3
    told = [word.rstrip(",") for word in done.words("unsupported")]
    assert (told[:2], set(told[2:])) == (["unsupported", "2"], {"IMG_1.HEIC", "IMG_2.heif"})
    assert done.words("unreadable")[:2] == ["unreadable", "1"]
    details = {record["detail"] for record in error_records(tmp_path / "out").values()}
    assert len(details) == 1 and "pip install 'alphadrop[heic]'" in details.pop()


def test_what_becomes_readable_is_cut_out_without_anybodys_help(folders: Folders) -> None:
    for key in ("late.png", "shut/x.png"):
        coloured(folders.source / key, colour(1))
    (folders.source / "late.png").chmod(0)
    (folders.source / "shut").chmod(0)
    with UsersDaemon(folders, "--settle", "0", "--rescan", "1") as daemon:
        daemon.until(lambda: error_records(folders.sink), "the file that may not be read is not told")
        assert error_records(folders.sink)["late.png"]["reason"] == "unreadable"
        shut = {"source_folders": "1 folder of the source cannot be read; the log names them"}
        daemon.until(lambda: daemon.unready() == shut, "the folder that may not be read is not told")
        (folders.source / "late.png").chmod(0o644)
        (folders.source / "shut").chmod(0o755)
        daemon.until(lambda: folders.outputs() == {"late.png", "shut/x.png"}, "they are not tried again")
        daemon.until(lambda: not daemon.unready() and not error_records(folders.sink), "the outage is still reported")
        assert daemon.stop() == 0
    assert len(daemon.events("directory_unreadable")) == 1
