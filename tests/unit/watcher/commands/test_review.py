"""`alphadrop review` on a folder: what is listed, drawn and decided."""

import argparse
import csv
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.codec import encode
from inference.compose import NO_METADATA, PRESETS, OutputSpec, compose
from inference.compose.values import Format
from inference.picture import Cutout
from inference.review.doubts import Doubt, Review
from watcher.cli import build_parser
from watcher.commands.review.command import choose, review
from watcher.commands.review.items import Item, list_items
from watcher.commands.review.output_flags import output_flags
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.stores.decisions import Decision, Verdict, read_decisions, write_decision
from watcher.stores.local import LocalStore
from watcher.stores.output_metadata import output_text
from watcher.stores.recorded import texts_of
from watcher.testing import MemoryStore

REVIEWS = {
    "a/sure.jpg": Review(0.97),
    "b.jpg": Review(0.31, (Doubt.UNDECIDED, Doubt.TOUCHES_FRAME)),
    "c.jpg": Review(0.72, (Doubt.LOW_CONTRAST,)),
}


WHITE = OutputSpec(format=Format.JPEG, background="white")
CUTOUT = Cutout(np.full((20, 30, 4), 200, np.uint8))


def write_output(sink: LocalStore, key: str, found: Review | None, job: str = "1" * 64) -> None:
    output = Output(job, ImageRef(key, "v", 1), key.replace(".jpg", ".png"))
    facts = Facts(0.5, model="nano 0123456789ab", options='{"png_level":1}', review=found)
    sink.put(output, encode(CUTOUT, text=output_text(output, facts)), None, facts)


def write_jpeg(sink: LocalStore, key: str, spec: OutputSpec = WHITE, folder: str = "jpeg") -> None:
    """Write one more output of an image."""
    output = Output("3" * 64, ImageRef(key, "v", 1), f"{folder}/{key}", job="1" * 64)
    options = json.dumps({"canvas": 448, "output": spec.changes()})
    facts = Facts(0.5, model="nano 0123456789ab", options=options, review=REVIEWS[key])
    composed = compose(CUTOUT, spec, NO_METADATA, output_text(output, facts))
    sink.put(output, composed.data, None, facts)


@pytest.fixture
def sink(tmp_path: Path) -> LocalStore:
    (tmp_path / "sink").mkdir()
    store = LocalStore(tmp_path / "sink")
    for key, found in REVIEWS.items():
        write_output(store, key, found)
    write_output(store, "old.jpg", None)
    (tmp_path / "sink" / "note.txt").write_text("not an output")
    return store


def arguments(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["review", *words])


def run(sink: LocalStore, *words: str) -> int:
    return int(review(arguments(sink.root, *words)))


def test_the_least_sure_image_comes_first(sink: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sink) == 0
    said = capsys.readouterr().out
    assert said.index("0.31") < said.index("0.72") < said.index("0.97")
    assert "undecided, touches frame" in said
    assert "3 of 3 images" in said and "1 output without a confidence." in said


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("--below", "0.5"), ["b.jpg"]),
        (("--above", "0.72"), ["c.jpg", "a/sure.jpg"]),
        (("--pattern", "a/*"), ["a/sure.jpg"]),
        (("--doubt", "low_contrast"), ["c.jpg"]),
    ],
)
def test_images_are_chosen(sink: LocalStore, words: tuple[str, ...], keys: list[str]) -> None:
    assert [item.key for item in choose(list_items(sink).items, arguments("sink", *words))] == keys


def test_a_table_and_a_sheet_are_written(sink: LocalStore, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 20), "red").save(photos / "b.jpg")
    files = [str(tmp_path / "out" / name) for name in ("review.csv", "review.png")]
    run(sink, "--source", str(photos), "--limit", "2", "--csv", files[0], "--sheet", files[1])
    with open(files[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["b.jpg", "c.jpg", "a/sure.jpg"]
    assert rows[0]["doubts"] == "undecided,touches_frame" and rows[0]["model"] == "nano 0123456789ab"
    sheet = np.asarray(Image.open(files[1]).convert("RGB")).reshape(-1, 3)
    assert (abs(sheet.astype(int) - (254, 0, 0)).max(1) < 5).mean() > 0.03, "the sheet does not show the picture"


def test_a_decision_takes_an_image_off_the_list_until_it_is_made_anew(sink: LocalStore) -> None:
    run(sink, "--accept", "--above", "0.9")
    run(sink, "--reject", "--pattern", "b.jpg")
    found = {decision.key: decision.verdict for decision in read_decisions(sink)}
    assert found == {"a/sure.jpg": Verdict.ACCEPTED, "b.jpg": Verdict.REJECTED}
    assert json.loads((Path(sink.root) / "_alphadrop/review/b.jpg.json").read_text())["confidence"] == 0.31
    assert [item.key for item in choose(list_items(sink).items, arguments("sink"))] == ["c.jpg"]
    assert len(choose(list_items(sink).items, arguments("sink", "--all"))) == 3
    write_output(sink, "b.jpg", Review(0.4), job="2" * 64)
    assert [item.key for item in choose(list_items(sink).items, arguments("sink"))] == ["b.jpg", "c.jpg"]


def test_an_image_is_listed_again_when_the_file_of_its_decision_is_deleted(sink: LocalStore) -> None:
    run(sink, "--reject", "--pattern", "a/*")
    assert "a/sure.jpg" not in [item.key for item in choose(list_items(sink).items, arguments("sink"))]
    Path(sink.root, "_alphadrop/review/a/sure.jpg.json").unlink()
    assert "a/sure.jpg" in [item.key for item in choose(list_items(sink).items, arguments("sink"))]


def test_a_new_decision_replaces_an_earlier_one_if_all_images_are_meant(sink: LocalStore) -> None:
    run(sink, "--reject", "--pattern", "b.jpg")
    run(sink, "--accept", "--pattern", "b.jpg", "--all")
    assert [decision.verdict for decision in read_decisions(sink)] == [Verdict.ACCEPTED]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--below", "0.5"), "1 of 3 images, the least sure first."),
        (("--limit", "2"), "2 of 3 images, the least sure first."),
        (("--below", "0.8", "--limit", "1"), "1 of 2 selected images, the least sure first; there are 3 in all."),
        (("--below", "0.1"), "0 of 3 images: nothing to review."),
    ],
)
def test_the_summary_says_how_many_images_there_are_in_all(
    sink: LocalStore, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    run(sink, *words)
    assert f"{said} 1 output without a confidence." in capsys.readouterr().out


def test_one_image_is_no_plural(sink: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / name) for name in ("review.csv", "review.png")]
    run(sink, "--below", "0.5", "--csv", files[0], "--sheet", files[1])
    said = capsys.readouterr().out
    assert "review.csv has 1 image.\n" in said and "review.png shows 1 image.\n" in said


def test_a_folder_without_outputs_is_not_taken_for_a_sink_that_is_reviewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert review(arguments(str(tmp_path))) == 0
    assert capsys.readouterr().out == "There are no outputs of alphadrop here: name the SINK of `once` or `run`.\n"


def test_a_decision_says_how_many_images_it_is_about_and_how_many_are_decided_already(
    sink: LocalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    run(sink, "--reject", "--pattern", "b.jpg")
    assert capsys.readouterr().err == "1 image is rejected\n"
    run(sink, "--accept", "--below", "0.8")
    said = capsys.readouterr()
    assert said.out == "c.jpg\n"
    assert said.err == "1 image is accepted\n1 image is decided already, and left alone; --all includes them.\n"


@pytest.mark.parametrize("action", ["--accept", "--reject", "--redo"])
def test_a_decision_about_everything_must_be_meant(sink: LocalStore, action: str) -> None:
    with pytest.raises(ConfigurationError, match="--pattern"):
        run(sink, action)
    assert not list(read_decisions(sink))


def test_a_redo_needs_the_images(sink: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match="--source"):
        run(sink, "--redo", "--below", "0.5")


def test_a_decision_may_be_about_all_images_with_a_doubt(sink: LocalStore) -> None:
    run(sink, "--reject", "--doubt", "touches_frame")
    assert [decision.key for decision in read_decisions(sink)] == ["b.jpg"]


def test_the_plain_cut_out_is_shown_also_where_another_output_comes_first(sink: LocalStore) -> None:
    write_jpeg(sink, "b.jpg", folder="a-jpeg")
    write_jpeg(sink, "c.jpg", folder="z-jpeg")
    Path(sink.root, "c.png").unlink()
    shown = {item.key: item.output for item in list_items(sink).items}
    assert shown == {"a/sure.jpg": "a/sure.png", "b.jpg": "b.png", "c.jpg": "z-jpeg/c.jpg"}


def test_a_redo_replaces_an_output_under_its_id(sink: LocalStore, tmp_path: Path) -> None:
    """Given two unsure images, of which one is left, when they are made again, then the daemon has nothing to do."""
    before = sink.output_info("b.png")
    assert redo_b(sink, tmp_path / "photos", "--below", "0.8") == 3
    after = {item.key: item for item in list_items(sink).items}
    assert sink.output_info("b.png") == before
    assert after["b.jpg"].model.startswith("fake ") and after["b.jpg"].decided == "redone"
    assert after["c.jpg"].decision is None


def redo_b(sink: LocalStore, photos: Path, *words: str) -> int:
    photos.mkdir(exist_ok=True)
    Image.new("RGB", (30, 20), "white").save(photos / "b.jpg")
    return run(sink, "--redo", "--source", str(photos), "--model", "fake", "--devices", "cpu", *words)


def models_of(sink: LocalStore, *keys: str) -> list[str]:
    return [texts_of(sink, ref)["model"].split()[0] for ref in sink.list() if ref.key in keys]


def test_a_redo_warns_of_outputs_that_it_leaves_and_names_the_flags_that_make_them_too(
    sink: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jpeg(sink, "b.jpg")
    assert redo_b(sink, tmp_path / "photos", "--pattern", "b.jpg") == 0
    said = capsys.readouterr().err
    assert "1 output is left as before: jpeg/b.jpg." in said
    assert models_of(sink, "b.png", "jpeg/b.jpg") == ["fake", "nano"]
    flags = shlex.split(said.partition("add: ")[2])
    assert flags == ["--all", "--output", "cutout", "--output", "jpeg,background=#ffffff"]
    assert redo_b(sink, tmp_path / "photos", "--pattern", "b.jpg", *flags) == 0
    assert models_of(sink, "b.png", "jpeg/b.jpg") == ["fake", "fake"]
    assert "left as before" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "look", "flag"),
    [
        ("a/sure.png", {}, "cutout"),
        ("jpeg/a/sure.jpg", WHITE.changes(), "jpeg,background=#ffffff"),
        ("dark/a/sure.jpg", WHITE.changes(), "jpeg,background=#ffffff,name=dark"),
        ("etsy/a/sure.jpg", PRESETS["etsy"].spec.changes(), "etsy"),
        ("a/sure.jpg", WHITE.changes(), "jpeg,background=#ffffff,key={dir}{stem}.jpg"),
        ("cut/a/sure-1.png", {}, "png,key=cut/{dir}{stem}-1.png"),
        ("png/a/sure.png", {"trim": True, "margin": "5%"}, "png,trim=true,margin=5%"),
        ("webp/other.webp", {"format": "webp"}, ""),
        ("new/a/sure.png", {"halo": 3}, ""),
    ],
)
def test_the_flag_of_an_output_is_told_from_its_key_and_its_options(key: str, look: dict[str, Any], flag: str) -> None:
    recorded = json.dumps({"canvas": 448} | ({"output": look} if look else {}))
    item = Item("a/sure.jpg", key, "1" * 64, "nano 0123456789ab", Review(0.5), {key: recorded})
    assert output_flags([item]) == (f"--output {shlex.quote(flag)}" if flag else "")
    unknown = replace(item, options={key: recorded, "old.png": ""})
    assert output_flags([unknown]) == ""


def test_decisions_are_kept_in_any_store() -> None:
    store = MemoryStore()
    decision = Decision("x y/ü.jpg", "1" * 64, Verdict.REJECTED, 0.25, "2026-11-28T22:00:00+00:00")
    write_decision(store, decision)
    store.put_record("_alphadrop/review/broken.json", b"{")
    assert list(read_decisions(store)) == [decision]
