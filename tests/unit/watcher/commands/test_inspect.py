"""`alphadrop inspect` on outputs of every format, in folders and buckets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.compose import NO_METADATA, OutputSpec, compose
from inference.compose.values import Format
from inference.picture import Cutout
from tests.equipment.moto import moto_server
from watcher import cli
from watcher.core.jobs import Facts, ImageRef, Job, Output, Rejection
from watcher.core.reasons import Reason
from watcher.stores.error_records import record_key, write_error_record
from watcher.stores.local import LocalStore
from watcher.stores.output_metadata import output_text

OUTPUT = Output("a" * 64, ImageRef("shoes/ä.jpg", "10-20", 5), "x", "b" * 64)
FACTS = Facts(0.25, (8, 8, 24, 24), "nano 123456789abc", '{"canvas":320}')
SPECS = {
    "a.png": OutputSpec(),
    "a.webp": OutputSpec(format=Format.WEBP),
    "a.jpg": OutputSpec(format=Format.JPEG, background="white"),
    "a.tif": OutputSpec(format=Format.TIFF),
    "a.avif": OutputSpec(format=Format.AVIF),
}
WANTED = {
    "job": "b" * 64,
    "output": "a" * 64,
    "source": "shoes/ä.jpg",
    "matte_coverage": 0.25,
    "box": [8, 8, 24, 24],
    "model": "nano 123456789abc",
    "options": {"canvas": 320},
    "width": 32,
    "height": 32,
}


def made(name: str) -> bytes:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:24, 8:24] = (200, 30, 10, 255)
    return compose(Cutout(pixels), SPECS[name], NO_METADATA, output_text(OUTPUT, FACTS)).data


@pytest.mark.parametrize("name", SPECS)
def test_a_file_of_every_format_says_how_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(made(name))
    assert cli.main(["inspect", str(tmp_path / name), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {field: said[field] for field in WANTED} == WANTED
    assert cli.main(["inspect", str(tmp_path / name)]) == 0
    printed = capsys.readouterr().out
    assert "shoes/ä.jpg" in printed and "16 x 16 pixels, 8 from the left and 8 from the top" in printed


def test_an_error_record_says_why_there_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = LocalStore(tmp_path)
    job = Job("j" * 64, ImageRef("shoes/ä.jpg", "10-20", 5), "shoes/ä.png")
    write_error_record(sink, job, Rejection(Reason.TRUNCATED, "the JPEG data is truncated"))
    record = str(tmp_path / record_key(job.ref.key))
    assert cli.main(["inspect", record]) == 0
    printed = capsys.readouterr().out
    assert "shoes/ä.jpg" in printed and "truncated" in printed and "the JPEG data is truncated" in printed
    assert cli.main(["inspect", record, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["source"], said["reason"], said["job"]) == ("shoes/ä.jpg", "truncated", "j" * 64)


@pytest.mark.parametrize("text", ["{}", "[]", "7", '{"key": 1, "reason": "a", "detail": "b"}'])
def test_other_json_is_no_error_record(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "other.json").write_text(text, "utf-8")
    assert cli.main(["inspect", str(tmp_path / "other.json")]) == 3
    assert "says nothing of a job" in capsys.readouterr().out


def test_a_file_that_says_nothing_is_named_and_a_missing_one_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.jpg").write_bytes(b"\xff\xd8\xff\xd9")
    assert cli.main(["inspect", str(tmp_path / "other.jpg")]) == 3
    assert "says nothing of a job" in capsys.readouterr().out
    assert cli.main(["inspect", str(tmp_path / "none.png")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_an_object_says_the_same_and_its_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moto = moto_server()
    for name, value in moto.variables.items():
        monkeypatch.setenv(name, value)
    bucket = moto.bucket()
    store = moto.store(f"s3://{bucket}/out")
    store.put(Output(OUTPUT.id, OUTPUT.ref, "a.webp", OUTPUT.job), made("a.webp"), None, FACTS)
    assert cli.main(["inspect", f"s3://{bucket}/out/a.webp", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {field: said[field] for field in WANTED} | {"version": said["version"]} == WANTED | {"version": "10-20"}
    assert moto.client().head_object(Bucket=bucket, Key="out/a.webp")["ContentType"] == "image/webp"
