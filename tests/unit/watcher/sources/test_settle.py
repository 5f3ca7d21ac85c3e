"""When files count as complete, with a clock that only the tests move."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.equipment.support import Clock
from watcher.core.batches import in_batches
from watcher.core.errors import Unavailable
from watcher.sources.base import Arrival, DiscoveredVia
from watcher.sources.folder import _FirstListing
from watcher.sources.inotify import Change, ChangeBatch, ChangeQueue
from watcher.sources.new_files import NewFileDetector
from watcher.sources.settle import SettleTracker
from watcher.sources.source_filter import SourceFilter
from watcher.stores.local import LocalStore


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def tracker(clock: Clock) -> SettleTracker:
    return SettleTracker(2.0, clock)


@pytest.fixture
def detector(tmp_path: Path, clock: Clock) -> NewFileDetector:
    return NewFileDetector(LocalStore(tmp_path), SourceFilter(["out"]), 2.0, clock)


def picture(path: Path, data: bytes = b"bytes", age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


def found(arrivals: Iterable[Arrival]) -> list[tuple[str, DiscoveredVia]]:
    return sorted((arrival.ref.key, arrival.discovered_via) for arrival in arrivals)


def scan(detector: NewFileDetector) -> list[tuple[str, DiscoveredVia]]:
    return found(detector.scan(threading.Event()))


class TestSettleTracker:
    def test_a_file_is_due_after_the_settle_time(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.restart("x", "1")
        assert tracker.deadline() == 102.0
        clock.now = 101.9
        assert tracker.due() == []
        clock.now = 102.0
        assert tracker.due() == ["x"]
        assert tracker.has_settled("x", "1")
        assert "x" not in tracker
        assert tracker.deadline() is None

    def test_an_event_restarts_the_wait(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.restart("x", "1")
        clock.now = 101.5
        tracker.restart("x", "1")
        clock.now = 103.0
        assert tracker.due() == []
        assert tracker.deadline() == 103.5

    def test_a_change_without_an_event_restarts_the_wait(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.restart("x", "1")
        clock.now = 102.0
        assert not tracker.has_settled("x", "2")
        assert tracker.due() == []
        clock.now = 104.0
        assert tracker.due() == ["x"]
        assert tracker.has_settled("x", "2")

    def test_the_first_that_is_due_is_the_deadline(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.restart("x", "1")
        clock.now = 101.0
        tracker.restart("y", "1")
        tracker.restart("x", "1")
        assert tracker.deadline() == 103.0
        clock.now = 103.0
        assert tracker.due() == ["y", "x"]

    def test_a_forgotten_file_is_never_due(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.restart("x", "1")
        tracker.forget("x")
        tracker.forget("never seen")
        clock.now = 200.0
        assert tracker.due() == []
        assert len(tracker) == 0


class TestNewFileDetector:
    def test_a_complete_file_is_found_at_once_and_once(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        assert found(detector.handle_completed("x.jpg")) == [("x.jpg", DiscoveredVia.EVENT)]
        assert found(detector.handle_completed("x.jpg")) == []
        assert scan(detector) == []

    def test_a_new_version_is_found_again(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        list(detector.handle_completed("x.jpg"))
        picture(tmp_path / "x.jpg", b"another")
        assert found(detector.handle_completed("x.jpg")) == [("x.jpg", DiscoveredVia.EVENT)]

    def test_an_empty_file_must_settle(self, detector: NewFileDetector, tmp_path: Path, clock: Clock) -> None:
        picture(tmp_path / "x.jpg", b"")
        assert found(detector.handle_completed("x.jpg")) == []
        clock.now += 2
        assert found(detector.settled()) == [("x.jpg", DiscoveredVia.SETTLED)]

    def test_a_changed_file_is_found_when_it_has_settled(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock
    ) -> None:
        path = picture(tmp_path / "x.jpg")
        detector.handle_changed("x.jpg")
        clock.now += 1.9
        assert found(detector.settled()) == []
        picture(path, b"it has grown")
        clock.now += 0.1
        assert found(detector.settled()) == []
        clock.now += 2.0
        assert found(detector.settled()) == [("x.jpg", DiscoveredVia.SETTLED)]

    def test_closing_a_file_ends_its_wait(self, detector: NewFileDetector, tmp_path: Path, clock: Clock) -> None:
        picture(tmp_path / "x.jpg")
        detector.handle_changed("x.jpg")
        assert found(detector.handle_completed("x.jpg")) == [("x.jpg", DiscoveredVia.EVENT)]
        clock.now += 10
        assert found(detector.settled()) == []

    def test_an_event_without_a_change_is_dropped(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        list(detector.handle_completed("x.jpg"))
        detector.handle_changed("x.jpg")
        assert len(detector.settling) == 0

    def test_a_file_deleted_while_it_settles_is_forgotten(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock
    ) -> None:
        path = picture(tmp_path / "x.jpg")
        detector.handle_changed("x.jpg")
        path.unlink()
        clock.now += 2
        assert found(detector.settled()) == []
        assert len(detector.settling) == 0

    def test_a_file_that_cannot_be_looked_up_is_looked_up_again(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture(tmp_path / "x.jpg")

        def broken(self, key):
            raise Unavailable("the disk fails")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "stat", broken)
            assert found(detector.handle_completed("x.jpg")) == []
        clock.now += 2
        assert found(detector.settled()) == []
        clock.now += 2
        assert found(detector.settled()) == [("x.jpg", DiscoveredVia.SETTLED)]

    def test_a_listing_reports_old_files_and_lets_young_ones_settle(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock
    ) -> None:
        picture(tmp_path / "old.jpg", age=60)
        picture(tmp_path / "young.jpg")
        picture(tmp_path / "from the future.jpg", age=-3600)
        assert scan(detector) == [("old.jpg", DiscoveredVia.SCAN)]
        clock.now += 2
        assert found(detector.settled()) == [
            ("from the future.jpg", DiscoveredVia.SETTLED),
            ("young.jpg", DiscoveredVia.SETTLED),
        ]
        assert scan(detector) == []

    def test_a_listing_does_not_report_a_settling_file(self, detector: NewFileDetector, tmp_path: Path) -> None:
        path = picture(tmp_path / "x.jpg")
        detector.handle_changed("x.jpg")
        os.utime(path, (1, 1))
        assert scan(detector) == []

    def test_a_file_that_becomes_readable_is_reported_again(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        readable: set[str] = set()
        monkeypatch.setattr(LocalStore, "is_readable", lambda store, key: key in readable)  # root may read everything
        picture(tmp_path / "x.jpg", age=60)
        picture(tmp_path / "y.jpg", age=60)
        assert scan(detector) == [("x.jpg", DiscoveredVia.SCAN), ("y.jpg", DiscoveredVia.SCAN)]
        assert scan(detector) == []
        readable.add("x.jpg")
        assert scan(detector) == [("x.jpg", DiscoveredVia.SCAN)]
        assert scan(detector) == [("x.jpg", DiscoveredVia.SCAN)], "its rejection may not have been recorded before"
        assert scan(detector) == []
        readable.add("y.jpg")
        detector.handle_changed("y.jpg")  # as an event about its attributes does
        clock.now += 2.0
        assert found(detector.settled()) == [("y.jpg", DiscoveredVia.SETTLED)]
        assert scan(detector) == [("y.jpg", DiscoveredVia.SCAN)]
        assert scan(detector) == []

    def test_a_file_that_cannot_be_read_is_not_forgotten_by_a_listing_that_has_passed_it(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        readable: set[str] = {"a.jpg"}
        monkeypatch.setattr(LocalStore, "is_readable", lambda store, key: key in readable)
        for name in ("a.jpg", "b.jpg"):
            picture(tmp_path / name, age=60)
        listing = detector.scan(threading.Event())
        next(listing)
        picture(tmp_path / "new.jpg", age=60)
        detector.handle_changed("new.jpg")
        clock.now += 2.0
        assert found(detector.settled()) == [("new.jpg", DiscoveredVia.SETTLED)]
        list(listing)
        readable.add("new.jpg")
        assert ("new.jpg", DiscoveredVia.SCAN) in scan(detector)

    def test_a_listing_skips_other_files_and_excluded_folders(self, detector: NewFileDetector, tmp_path: Path) -> None:
        for name in ("x.txt", "out/x.jpg", ".x.jpg", ".d/x.jpg", "x.jpg.part"):
            picture(tmp_path / name, age=60)
        assert scan(detector) == []
        assert found(detector.handle_completed("out/x.jpg")) == []
        assert found(detector.handle_new_directory("out/")) == []
        assert found(detector.handle_new_directory(".d/")) == []

    def test_a_new_directory_is_listed(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "a" / "b" / "x.jpg", age=60)
        picture(tmp_path / "y.jpg", age=60)
        assert found(detector.handle_new_directory("a/")) == [("a/b/x.jpg", DiscoveredVia.EVENT)]

    def test_a_deleted_file_that_comes_back_is_found_again(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "stays.jpg", age=60)
        path = picture(tmp_path / "goes.jpg", age=60)
        assert len(scan(detector)) == 2
        path.rename(tmp_path / "goes.kept")
        assert scan(detector) == []
        (tmp_path / "goes.kept").rename(path)
        assert scan(detector) == [("goes.jpg", DiscoveredVia.SCAN)]

    def test_an_empty_folder_forgets_nothing(self, detector: NewFileDetector, tmp_path: Path) -> None:
        path = picture(tmp_path / "x.jpg", age=60)
        assert len(scan(detector)) == 1
        path.rename(tmp_path / "x.kept")
        assert scan(detector) == []
        (tmp_path / "x.kept").rename(path)
        assert scan(detector) == []

    def test_a_listing_ends_on_a_request_to_stop(self, detector: NewFileDetector, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg", age=60)
        stop = threading.Event()
        stop.set()
        assert found(detector.scan(stop)) == []


class TestFirstListing:
    def test_is_over_once_when_its_files_have_settled(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock
    ) -> None:
        first = _FirstListing(detector, 20.0, clock)
        picture(tmp_path / "x.jpg")
        scan(detector)
        assert not first.is_over()
        first.listed()
        assert not first.is_over()
        clock.now += 2
        assert len(list(detector.settled())) == 1
        assert [first.is_over(), first.is_over()] == [True, False]

    def test_does_not_wait_for_later_files(self, detector: NewFileDetector, tmp_path: Path, clock: Clock) -> None:
        first = _FirstListing(detector, 20.0, clock)
        first.listed()
        picture(tmp_path / "x.jpg")
        detector.handle_changed("x.jpg")
        assert first.is_over()

    def test_gives_up_on_a_file_that_keeps_growing(
        self, detector: NewFileDetector, tmp_path: Path, clock: Clock
    ) -> None:
        first = _FirstListing(detector, 20.0, clock)
        path = picture(tmp_path / "x.jpg")
        scan(detector)
        first.listed()
        for second in range(20):
            assert not first.is_over()
            clock.now += 1
            picture(path, b"x" * (10 + second))
            detector.handle_changed("x.jpg")
        assert first.is_over()


class TestChanges:
    def test_the_last_change_counts(self) -> None:
        batch = ChangeBatch()
        for change in (Change.MODIFIED, Change.COMPLETED, Change.MODIFIED):
            batch.add(change, "x")
        assert batch.files == {"x": Change.MODIFIED}

    def test_setting_the_times_of_a_complete_file_leaves_it_complete(self) -> None:
        batch = ChangeBatch()
        for change in (Change.MODIFIED, Change.COMPLETED, Change.ATTRIBUTES):
            batch.add(change, "x")
        assert batch.files == {"x": Change.COMPLETED}

    def test_a_full_queue_counts_as_an_overflow(self) -> None:
        changes = ChangeQueue(limit=2)
        for name in "abc":
            changes.put(Change.COMPLETED, name)
        batch = changes.take(0)
        assert (set(batch.files), batch.overflowed) == ({"a", "b"}, True)
        assert changes.take(0) == ChangeBatch()


def test_batches_are_full_but_the_last(detector: NewFileDetector, tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.jpg", age=60)
    assert [len(batch) for batch in in_batches(detector.scan(threading.Event()), 2)] == [2, 2, 1]
    assert list(in_batches([], 2)) == []
