"""`alphadrop once` on an ordinary folder: several formats, nested, with files that can never work."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.equipment.pictures import BAD, Product, flaws, place, products
from tests.equipment.support import Finished, alphadrop, error_records, files_below, identities

pytestmark = pytest.mark.timeout(1200)

GOOD = products(200)
OUTPUTS = {product.output for product in GOOD}


@dataclass(frozen=True)
class Story:
    """The same command twice, and what the sink held after each."""

    sink: Path
    first: Finished
    after_first: dict[str, tuple[int, int]]
    second: Finished
    after_second: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("once")
    source, sink = root / "photos", root / "cutouts"
    for product in GOOD:
        product.save(source)
    for key, (data, _) in BAD.items():
        place(source, key, data)
    add_what_is_no_file(source)
    command = ("once", source, sink, "--state", root / "state", "--model", "fake")
    first = alphadrop(*command)
    after_first = identities(sink)
    second = alphadrop(*command)
    return Story(sink, first, after_first, second, identities(sink))


def add_what_is_no_file(source: Path) -> None:
    """Things with a picture's name that would hang or crash whoever opens them."""
    (source / "folder.jpg").mkdir()
    os.mkfifo(source / "pipe.jpg")
    os.mknod(source / "socket.jpg", stat.S_IFSOCK | 0o600)
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "dangling.jpg").symlink_to("nowhere.jpg")


def test_every_good_picture_has_an_output_and_nothing_else_has(story: Story) -> None:
    assert {key for key in files_below(story.sink) if not key.startswith("_failed/")} == OUTPUTS


@pytest.mark.parametrize("ending", sorted({product.key.rpartition(".")[2] for product in GOOD}))
def test_every_output_has_its_pictures_size_and_colour(story: Story, ending: str) -> None:
    assert [flaw for product in GOOD if product.key.endswith(ending) for flaw in of(story, product)] == []


def of(story: Story, product: Product) -> list[str]:
    return flaws(story.sink / product.output, product.size, product.colour)


def test_every_bad_file_has_a_record_that_says_why(story: Story) -> None:
    records = error_records(story.sink)
    assert {key: record["reason"] for key, record in records.items()} == {k: reason for k, (_, reason) in BAD.items()}
    for key, (data, _) in BAD.items():
        assert (story.sink / "_failed" / f"{key}.json").is_file()
        assert records[key]["bytes"] == len(data)
        assert len(records[key]["detail"]) > 20
        assert "alphadrop retry" in records[key]["retry"]


def test_the_exit_code_says_that_some_were_rejected(story: Story) -> None:
    assert story.first.code == 3, story.first.err[-2000:]
    assert "Traceback" not in story.first.err


def test_the_summary_counts_the_outcomes_and_names_the_reasons(story: Story) -> None:
    assert story.first.words("written")[:2] == ["written", str(len(GOOD))]
    assert story.first.words("rejected")[:2] == ["rejected", str(len(BAD))]
    for reason in {reason for _, reason in BAD.values()}:
        count = sum(reason == other for _, other in BAD.values())
        assert story.first.words(reason)[:2] == [reason, str(count)]
    assert "bad/bomb.png" in story.first.out


def test_every_image_has_a_line_in_the_log(story: Story) -> None:
    assert story.first.outcomes == {product.key: "written" for product in GOOD} | dict.fromkeys(BAD, "rejected")


def test_no_temporary_file_is_left(story: Story) -> None:
    assert [key for key in files_below(story.sink) if not key.endswith((".png", ".json"))] == []


def test_a_second_run_makes_nothing_anew(story: Story) -> None:
    assert story.second.outcomes == {}
    assert story.second.words("written") == story.second.words("already_done") == []
    assert story.after_second == story.after_first


def test_a_second_run_still_lists_the_rejected_images(story: Story) -> None:
    assert story.second.code == 3
    assert story.second.words("rejected")[:2] == ["rejected", str(len(BAD))]


def test_a_gpu_that_is_not_there_is_named_before_anything_is_changed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    folders = (tmp_path / "photos", tmp_path / "cutouts", "--state", tmp_path / "state")
    run = alphadrop("once", *folders, "--model", "fake", "--devices", "cuda:77")
    assert run.code == 2
    assert "--devices cuda:77: not visible here" in run.err and "Traceback" not in run.err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_lies_in_the_working_folder_is_never_imported(tmp_path: Path) -> None:
    products(1)[0].save(tmp_path / "photos")
    trap = "raise SystemExit('imported from the working folder')"
    for name in ("torch.py", "inference/__init__.py", "watcher/__init__.py", "json.py", "numpy.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(trap)
    run = alphadrop("once", "photos", "cutouts", "--state", "state", "--devices", "cpu", cwd=tmp_path)
    assert run.code == 0, run.err
    checked = alphadrop("doctor", cwd=tmp_path)
    assert "imported from" not in checked.out + checked.err and checked.code == 0


def test_a_page_is_no_flag_of_a_command_that_ends_by_itself(tmp_path: Path) -> None:
    run = alphadrop("once", tmp_path, tmp_path / "out", "--page")
    assert run.code == 2 and "--page is not a flag of `alphadrop once`" in run.err
