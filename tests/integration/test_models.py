"""Models that a user brings, and what tells how good they are, as commands."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from inference.models.registry import resolve
from inference.models.thirdparty.contracts import CONTRACTS
from tests.equipment import onnx_files
from tests.equipment.pictures import photo, place
from tests.equipment.support import Call, Finished, alphadrop, files_below
from watcher.config.settings import Settings
from watcher.core.jobs import ImageRef
from watcher.fleet.devices import plan_workers
from watcher.fleet.model_check import problem_with
from watcher.wiring import Wiring

pytestmark = pytest.mark.timeout(600)

SIZE, RED = (96, 72), (200, 30, 40)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A source with one picture."""
    place(tmp_path / "photos", "a.jpg", photo("a.jpg", SIZE, RED))
    return tmp_path / "photos"


def once(photos: Path, *options: object, **variables: Any) -> Finished:
    root = photos.parent
    places = (photos, root / "cutouts", "--state", root / "state", "--devices", "cpu")
    return alphadrop("once", *places, *options, **variables)


# Brought models.


@pytest.mark.slow
def test_a_model_of_rembgs_is_found_by_name_and_what_limits_it_is_said(photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "models"
    home.mkdir()
    onnx_files.isnet(home / "isnet-general-use.onnx", sides=(64, 96))
    done = once(photos, "--model", "isnet-general-use", U2NET_HOME=str(home))
    assert done.code == 0, done.err
    assert "model_limits_throughput" in done.err and "fixed batch size of 1" in done.err
    with Image.open(tmp_path / "cutouts" / "a.png") as image:
        alpha = np.asarray(image)[..., 3]
    assert abs(int(alpha[36, 48]) - RED[0]) < 12  # the red channel is that model's alpha
    listed = alphadrop("models", U2NET_HOME=str(home))
    assert "fixed batch size of 1" in " ".join(listed.out.split()) and "isnet" in listed.out
    doctor = alphadrop(
        "doctor", "--model", "isnet-general-use", "--devices", "cpu", U2NET_HOME=str(home), COLUMNS="300"
    )
    assert doctor.code == 0 and "contract isnet, tried on the CPU; the file has a fixed batch size of 1" in doctor.out


@pytest.mark.slow
@pytest.mark.parametrize(("content", "said"), [("opset", "opset"), ("pickle", "is a pickle")])
def test_a_model_that_cannot_be_used_is_refused_before_anything_is_touched(
    photos: Path, tmp_path: Path, content: str, said: str
) -> None:
    path = onnx_files.isnet(tmp_path / "a.onnx")
    if content == "opset":
        model = onnx.load(str(path))
        model.opset_import[0].version = 99
        onnx.save(model, str(path))
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    refused = once(photos, "--model", path)
    assert refused.code == 2
    assert refused.err.startswith("alphadrop: --model:") and said in refused.err and "Traceback" not in refused.err
    assert not (tmp_path / "cutouts").exists() and not (tmp_path / "state").exists()


@pytest.mark.slow
def test_a_model_that_fails_at_its_first_picture_is_not_tried_for_ever(photos: Path, tmp_path: Path) -> None:
    path = onnx_files.birefnet(tmp_path / "a.onnx", side=64)
    failed = once(photos, "--model", path, "--model-contract", "rmbg")
    assert failed.code == 4
    assert "choose another --model-contract" in failed.err
    assert "the model cannot be used here" in failed.err
    assert files_below(tmp_path / "cutouts") == set()


@pytest.mark.slow
def test_the_doctor_tries_a_model(call: Call, tmp_path: Path) -> None:
    path = onnx_files.u2net(tmp_path / "u2net.onnx")
    report = call("doctor", "--model", path)
    assert str(plan_workers("auto", 0, third_party=True)) in report.out
    assert "contract u2net, tried on the CPU; the file has a fixed batch size of 1, which limits" in report.out
    other = resolve(str(onnx_files.birefnet(tmp_path / "a.onnx", side=64)), contract="rmbg")
    assert "choose another --model-contract" in problem_with(other, run=True)


def test_models_lists_what_rembg_has_fetched(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")  # the path of this folder may be long, and must not break a line
    onnx_files.isnet(tmp_path / "isnet-general-use.onnx")
    (tmp_path / "silueta.onnx").write_bytes(b"Dear all")
    listed = call("models").out
    isnet = r"isnet-general-use +179 MB +objects of any kind.*\n +Apache-2.0; isnet, sha256 \w{12}; the file has a "
    assert re.search(isnet + "fixed batch size of 1", listed)
    assert re.search(r"silueta +44 MB +u2net, .*\n +Apache-2.0; .*is not a complete ONNX file", listed)
    assert all(contract in listed for contract in CONTRACTS)


def test_another_contract_is_another_job(tmp_path: Path) -> None:
    path, ref = onnx_files.isnet(tmp_path / "a.onnx", outputs=1), ImageRef("a.jpg", "1", 9)

    def job(contract: str) -> str:
        settings = Settings(source="in", sink="out", model=str(path), model_contract=contract)
        return Wiring.of(settings).recipe.job_id(ref)

    assert job("isnet") == job("isnet") != job("rmbg")


# Judged models.


def draw(root: Path) -> tuple[Path, Path]:
    """Three pictures with their true mattes, and some that do not go together."""
    images, alphas = root / "images", root / "alphas"
    for number in range(3):
        place(images, f"shoes/{number}.jpg", photo("a.jpg", SIZE, (200 - 60 * number, 30, 40)))
        truth = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        truth[SIZE[1] // 4 : SIZE[1] - SIZE[1] // 4, SIZE[0] // 4 : SIZE[0] - SIZE[0] // 4] = 255
        if number == 2:
            truth[:] = 255 - truth
        (alphas / "shoes").mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth).save(alphas / "shoes" / f"{number}.png")
    place(images, "alone.jpg", photo("a.jpg", SIZE))
    place(images, "bad.jpg", b"Dear all")
    Image.new("L", SIZE).save(alphas / "bad.png")
    place(images, "small.jpg", photo("a.jpg", SIZE))
    Image.new("L", (5, 5)).save(alphas / "small.png")
    return images, alphas


def test_evaluate_scores_what_belongs_together_and_names_the_rest(call: Call, tmp_path: Path) -> None:
    images, alphas = draw(tmp_path)
    out = tmp_path / "judged"
    done = call("evaluate", images, alphas, "--model", "fake", "--devices", "cpu", "--out", out)
    assert done.code == 3, done.err
    for name, why in (
        ("alone", "1 picture, no mattes"),
        ("bad.jpg", "no known picture format"),
        ("small.jpg", "matte 5 x 5"),
    ):
        assert any(name in line and why in line for line in done.err.splitlines()), done.err
    assert "fake on 3 pictures" in done.out and "Conn" in done.out and "IoU" in done.out
    with (out / "figures.csv").open() as file:
        rows = {row["picture"]: row for row in csv.DictReader(file)}
    assert set(rows) == {f"shoes/{number}.jpg" for number in range(3)}
    assert float(rows["shoes/0.jpg"]["iou"]) > 0.99 and float(rows["shoes/0.jpg"]["mad"]) < 0.02
    assert float(rows["shoes/2.jpg"]["iou"]) < 0.01  # whose truth is the other way round
    means = json.loads((out / "figures.json").read_text())
    assert means["count"] == 3
    assert means["mad"] == pytest.approx(np.mean([float(row["mad"]) for row in rows.values()]), abs=1e-5)
    with Image.open(out / "worst.png") as sheet:
        assert sheet.width > 4 * 320


def test_compare_shows_where_two_models_differ(call: Call, tmp_path: Path) -> None:
    images, _ = draw(tmp_path)
    path = onnx_files.u2net(tmp_path / "red.onnx", outputs=1)
    options = ("--contract-b", "u2net", "--devices", "cpu", "--rows", "2", "--out", tmp_path / "sheet")
    done = call("compare", "fake", path, images, *options)
    assert done.code == 3 and "bad.jpg" in done.err
    assert "5 pictures, mean difference of alpha 0." in done.out
    with (tmp_path / "sheet" / "differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"] for row in rows} == {"alone.jpg", "small.jpg", *(f"shoes/{n}.jpg" for n in range(3))}
    assert all(float(row["mean_difference"]) > 0.3 for row in rows)  # one keeps the background, one what is red
    with Image.open(tmp_path / "sheet" / "sheet.png") as sheet:
        assert sheet.width > 7 * 240 and 2 * 180 < sheet.height < 3 * 240


def test_folders_that_are_none_or_do_not_match_are_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    nowhere = call("evaluate", tmp_path / "a", tmp_path / "nowhere")
    assert nowhere.code == 2 and "is not a folder" in nowhere.err
    (tmp_path / "b").mkdir()
    apart = call("evaluate", tmp_path / "a", tmp_path / "b")
    assert apart.code == 2 and "No picture of" in apart.err
    empty = call("compare", "fake", "fake", tmp_path / "a")
    assert empty.code == 2 and "There is no picture" in empty.err
