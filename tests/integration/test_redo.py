"""Which outputs are made again: one folder through six runs, each after a change that users make."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.pictures import cut_short, flaws, photo, place
from tests.equipment.support import Finished, alphadrop, error_records, files_below, identities
from watcher.core.jobs import Outcome, Recipe
from watcher.ingest.enqueue import Enqueuer
from watcher.queues import open_queue
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.testing import MemoryStore

pytestmark = pytest.mark.timeout(1800)

SIZE = (96, 72)
RED, BLUE = (200, 30, 40), (20, 60, 180)
KEPT = ("kept/a.jpg", "kept/b.png", "kept/deep/c.webp")
TWINS = ("twins/x.jpg", "twins/x.png")
BY_NAME = "{dir}{name}.png"


@dataclass(frozen=True)
class Seen:
    """One run, and what there was after it."""

    run: Finished
    files: dict[str, tuple[int, int]]
    """Inode and mtime of everything in the sink."""
    records: dict[str, dict[str, Any]]
    rows: set[str]
    """Keys of the queue's rejected rows."""

    @property
    def outputs(self) -> dict[str, tuple[int, int]]:
        """The files that are not error records."""
        return {key: identity for key, identity in self.files.items() if not key.startswith("_failed/")}


@dataclass(frozen=True)
class Story:
    """The runs in their order."""

    sink: Path
    first: Seen
    changed: Seen
    forgotten: Seen
    compressed: Seen
    remodelled: Seen
    renamed: Seen


class Place:
    """The three folders, and one command on them."""

    def __init__(self, root: Path) -> None:
        self.source, self.sink, self.state = root / "photos", root / "cutouts", root / "state"

    def once(self, *options: str) -> Seen:
        """Run and look."""
        run = alphadrop("once", self.source, self.sink, "--state", self.state, "--settle", "0", *options)
        with closing(open_queue(f"sqlite://{self.state / 'queue.sqlite'}")) as queue:
            rows = {job.ref.key for job, _ in queue.rejected()}
        return Seen(run, identities(self.sink), error_records(self.sink), rows)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    there = Place(tmp_path_factory.mktemp("redo"))
    given_photos_and_a_foreign_output(there)
    first = there.once("--model", "fake")
    when_users_change_things(there)
    changed = there.once("--model", "fake")
    shutil.rmtree(there.state)
    forgotten = there.once("--model", "fake")
    compressed = there.once("--model", "fake", "--png-level", "3")
    remodelled = there.once("--model", "fake:side=192", "--png-level", "3")
    renamed = there.once("--model", "fake:side=192", "--png-level", "3", "--output-name", BY_NAME)
    return Story(there.sink, first, changed, forgotten, compressed, remodelled, renamed)


def given_photos_and_a_foreign_output(there: Place) -> None:
    for key in (*KEPT, *TWINS, "replaced/shoe.jpg", "undone/hat.png", "foreign/x.jpg"):
        place(there.source, key, photo(key, SIZE, RED))
    for key in ("vanished/bad.jpg", "mended/bag.jpg"):
        place(there.source, key, cut_short(key))
    place(there.sink, "foreign/x.png", photo("x.png", (30, 30), BLUE))


def when_users_change_things(there: Place) -> None:
    place(there.source, "replaced/shoe.jpg", photo("shoe.jpg", SIZE, BLUE))
    (there.sink / "undone/hat.png").unlink()
    (there.source / "vanished/bad.jpg").unlink()
    place(there.source, "mended/bag.jpg", photo("bag.jpg", SIZE, BLUE))


def anew(before: Seen, after: Seen) -> set[str]:
    """The outputs that a run has written."""
    return {key for key, identity in after.outputs.items() if before.outputs.get(key) != identity}


# The first run.


def test_what_can_be_made_is_made(story: Story) -> None:
    assert story.first.run.code == 3, story.first.run.err[-2000:]
    assert set(story.first.outputs) == {
        "kept/a.png",
        "kept/b.png",
        "kept/deep/c.png",
        "twins/x.png",
        "replaced/shoe.png",
        "undone/hat.png",
        "foreign/x.png",
    }


def test_the_second_of_two_images_with_one_output_is_rejected_with_the_remedy(story: Story) -> None:
    (loser,) = {*story.first.records} & {*TWINS}
    (winner,) = {*TWINS} - {loser}
    record = story.first.records[loser]
    assert record["reason"] == "output_taken"
    assert winner in record["detail"] and f"--output-name '{BY_NAME}'" in record["detail"]
    assert story.first.run.outcomes[winner] == "written"


def test_a_file_that_alphadrop_did_not_make_is_left_alone(story: Story) -> None:
    record = story.first.records["foreign/x.jpg"]
    assert record["reason"] == "output_exists"
    assert "foreign/x.png" in record["detail"] and "--output-name" in record["detail"]
    for seen in (story.changed, story.forgotten, story.compressed, story.remodelled, story.renamed):
        assert seen.files["foreign/x.png"] == story.first.files["foreign/x.png"]
    assert (story.sink / "foreign/x.png").read_bytes() == photo("x.png", (30, 30), BLUE)


# After pictures were replaced, added and removed.


def test_only_what_has_changed_is_made_anew(story: Story) -> None:
    assert anew(story.first, story.changed) == {"replaced/shoe.png", "undone/hat.png", "mended/bag.png"}
    assert story.changed.run.outcomes == {
        "replaced/shoe.jpg": "written",
        "undone/hat.png": "written",
        "mended/bag.jpg": "written",
    }


def test_a_replaced_picture_replaces_its_output(story: Story) -> None:
    assert flaws(story.sink / "replaced/shoe.png", SIZE, BLUE) == []


def test_a_deleted_output_is_made_again(story: Story) -> None:
    assert flaws(story.sink / "undone/hat.png", SIZE, RED) == []


def test_a_repaired_picture_loses_its_error_record_and_gets_an_output(story: Story) -> None:
    assert story.first.records["mended/bag.jpg"]["reason"] == "truncated"
    assert "mended/bag.jpg" not in {*story.changed.records} | story.changed.rows
    assert flaws(story.sink / "mended/bag.png", SIZE, BLUE) == []


def test_a_rejected_picture_that_is_deleted_is_forgotten(story: Story) -> None:
    assert "vanished/bad.jpg" in story.first.records and "vanished/bad.jpg" in story.first.rows
    assert "vanished/bad.jpg" not in {*story.changed.records} | story.changed.rows
    assert "_failed/vanished" not in {str(path.relative_to(story.sink)) for path in story.sink.rglob("*")}


# After the queue was lost.


def test_without_its_queue_everything_is_found_done(story: Story) -> None:
    assert story.forgotten.outputs == story.changed.outputs
    outcomes = story.forgotten.run.outcomes
    rejected = {key for key, outcome in outcomes.items() if outcome == "rejected"}
    assert rejected == {*story.changed.records} == story.forgotten.rows
    assert {outcomes[key] for key in outcomes.keys() - rejected} == {"already_done"}
    assert len(outcomes) == len(story.changed.outputs) + 1
    assert story.forgotten.run.words("already_done")[:2] == ["already_done", str(len(outcomes) - 2)]


# With other options.


def test_another_compression_makes_every_output_anew(story: Story) -> None:
    assert anew(story.forgotten, story.compressed) == {*story.forgotten.outputs} - {"foreign/x.png"}


def test_another_model_makes_every_output_anew(story: Story) -> None:
    assert anew(story.compressed, story.remodelled) == {*story.compressed.outputs} - {"foreign/x.png"}


def test_images_that_were_refused_for_their_output_stay_refused_under_other_options(story: Story) -> None:
    for seen in (story.changed, story.forgotten, story.compressed, story.remodelled):
        assert seen.run.code == 3
        assert {record["reason"] for record in seen.records.values()} == {"output_taken", "output_exists"}
        assert set(seen.records) == seen.rows


def test_with_names_that_differ_all_are_made(story: Story) -> None:
    assert story.renamed.run.code == 0
    images = {key + ".png" for key in (*KEPT, *TWINS, "replaced/shoe.jpg", "undone/hat.png", "foreign/x.jpg")}
    assert anew(story.remodelled, story.renamed) == images | {"mended/bag.jpg.png"}
    assert flaws(story.sink / "twins/x.jpg.png", SIZE, RED) == flaws(story.sink / "twins/x.png.png", SIZE, RED) == []
    assert story.renamed.records == {} and story.renamed.rows == set()
    assert not any(key.startswith("_failed") for key in files_below(story.sink))


# While it runs.


@pytest.mark.parametrize("found", DiscoveredVia)
def test_an_image_that_was_missing_when_it_was_read_is_done_when_it_is_back(
    tmp_path: Path, found: DiscoveredVia
) -> None:
    source, sink = MemoryStore(), MemoryStore()
    arrivals = [Arrival(source.write("a.jpg", b"bytes"), found)]
    with closing(open_queue(f"sqlite://{tmp_path / 'queue.sqlite'}")) as queue:
        enqueuer = Enqueuer(Recipe(source.uri, "digest", {}), source, sink, queue, queue)
        assert enqueuer.accept(arrivals) == 1
        (lease,) = queue.lease("worker", 1, alone=False)
        lease.done(Outcome.GONE)
        assert enqueuer.accept(arrivals) == 1
        assert enqueuer.accept(arrivals) == 0
        assert queue.stats().pending == 1
