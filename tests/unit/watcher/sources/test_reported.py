"""What was reported is remembered, and takes little memory a file."""

from __future__ import annotations

import random
import threading
import tracemalloc
from pathlib import Path

import pytest

from watcher.sources.new_files import NewFileDetector
from watcher.sources.reported import ReportedVersions
from watcher.sources.source_filter import SourceFilter
from watcher.stores.local import LocalStore

BYTES_PER_FILE = 52
"""Of the table after any number of files: 17 bytes a slot, of which at least a third is used."""


def test_it_holds_what_a_dict_would_through_additions_changes_forgetting_and_listings() -> None:
    draw, table, expected = random.Random(5), ReportedVersions(), dict[str, str]()
    keys = [f"{number // 100}/{number}.jpg" for number in range(3000)]
    for _ in range(40):
        for key in draw.sample(keys, 200):
            version = str(draw.randrange(3))
            table.add(key, version)
            expected[key] = version
        for key in draw.sample(keys, 20):
            table.forget(key)
            expected.pop(key, None)
        if draw.random() < 0.3:
            table.unmark()
            listed = draw.sample(keys, draw.choice([30, 1500]))
            for key in listed:
                table.holds(key, "")
            if table.drop_unseen():
                expected = {key: version for key, version in expected.items() if key in listed}
        held = {(key, version) for key in keys for version in "012" if table.holds(key, version)}
        assert held == set(expected.items())


def test_a_listing_that_saw_nothing_drops_nothing() -> None:
    table = ReportedVersions()
    table.add("a.jpg", "1")
    table.unmark()
    assert table.drop_unseen() == 0
    assert table.holds("a.jpg", "1")


def test_files_that_were_deleted_take_no_memory() -> None:
    table = ReportedVersions()
    for number in range(20_000):
        table.add(f"{number}.jpg", "1")
    large = table.size
    assert large <= BYTES_PER_FILE * len(table)
    table.unmark()
    assert table.holds("5.jpg", "1")
    assert table.drop_unseen() == len(table) == 1
    assert table.size < large / 100


def test_keys_whose_hashes_meet_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every key starts its search at the same slot, and the last slot is followed by the first
    monkeypatch.setattr("watcher.sources.reported.hash", lambda text: 64 * (ord(text[0]) + 1) - 1, raising=False)
    table = ReportedVersions()
    for key in "abcdef":
        table.add(key, key)
    assert all(table.holds(key, version) == (key == version) for key in "abcdef" for version in "abcdef")


def test_a_file_forgotten_during_a_listing_is_reported_again(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").write_bytes(b"x")
    detector, stop = NewFileDetector(LocalStore(tmp_path), SourceFilter(), settle=-1.0), threading.Event()
    first = [arrival.ref.key for arrival in detector.scan(stop)]
    assert sorted(first) == ["a.jpg", "b.jpg"]
    (tmp_path / "c.jpg").write_bytes(b"x")
    for arrival in detector.scan(stop):  # a worker found both missing or changed meanwhile
        assert arrival.ref.key == "c.jpg"
        detector.forget("a.jpg")
        detector.forget("b.jpg")
    again = {arrival.ref.key for _ in range(2) for arrival in detector.scan(stop)}
    assert again == {"a.jpg", "b.jpg"}


def test_a_file_that_stays_in_the_source_takes_few_bytes(tmp_path: Path) -> None:
    """The supervisor remembers each file for as long as it stays, so this is its memory for each image."""
    detector, count = NewFileDetector(LocalStore(tmp_path), SourceFilter(), settle=-1.0), 5000
    for number in range(count):
        (tmp_path / f"{number:04}.jpg").write_bytes(b"x")
    stop = threading.Event()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = sum(1 for _ in detector.scan(stop))
        _, peak = tracemalloc.get_traced_memory()
        assert found == count
        tracemalloc.reset_peak()
        assert sum(1 for _ in detector.scan(stop)) == 0
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= BYTES_PER_FILE * count
    assert peak - after <= 4 * count + 100_000, "a listing copies nothing of what is remembered"
