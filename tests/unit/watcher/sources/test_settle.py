"""When files are taken for whole, with a clock that only the tests move."""

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
from watcher.sources.base import Arrival, Hint
from watcher.sources.finder import Finder
from watcher.sources.folder import _FirstListing
from watcher.sources.inotify import Change, Inbox, Mail
from watcher.sources.names import SourceFilter
from watcher.sources.settle import SettleTracker
from watcher.stores.local import LocalStore


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def tracker(clock: Clock) -> SettleTracker:
    return SettleTracker(2.0, clock)


@pytest.fixture
def finder(tmp_path: Path, clock: Clock) -> Finder:
    return Finder(LocalStore(tmp_path), SourceFilter(["out"]), 2.0, clock)


def picture(path: Path, data: bytes = b"bytes", age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


def told(arrivals: Iterable[Arrival]) -> list[tuple[str, Hint]]:
    return sorted((arrival.ref.key, arrival.hint) for arrival in arrivals)


def scan(finder: Finder) -> list[tuple[str, Hint]]:
    return told(finder.scan(threading.Event()))


class TestSettleTracker:
    def test_a_file_is_due_after_the_settle_time(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.saw("x", "1")
        assert tracker.deadline() == 102.0
        clock.now = 101.9
        assert tracker.due() == []
        clock.now = 102.0
        assert tracker.due() == ["x"]
        assert tracker.held_still("x", "1")
        assert "x" not in tracker
        assert tracker.deadline() is None

    def test_an_event_starts_the_wait_anew(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.saw("x", "1")
        clock.now = 101.5
        tracker.saw("x", "1")
        clock.now = 103.0
        assert tracker.due() == []
        assert tracker.deadline() == 103.5

    def test_a_change_that_no_event_told_starts_it_anew(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.saw("x", "1")
        clock.now = 102.0
        assert not tracker.held_still("x", "2")
        assert tracker.due() == []
        clock.now = 104.0
        assert tracker.due() == ["x"]
        assert tracker.held_still("x", "2")

    def test_the_first_that_is_due_is_the_deadline(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.saw("x", "1")
        clock.now = 101.0
        tracker.saw("y", "1")
        tracker.saw("x", "1")
        assert tracker.deadline() == 103.0
        clock.now = 103.0
        assert tracker.due() == ["y", "x"]

    def test_a_forgotten_file_is_never_due(self, tracker: SettleTracker, clock: Clock) -> None:
        tracker.saw("x", "1")
        tracker.forget("x")
        tracker.forget("never seen")
        clock.now = 200.0
        assert tracker.due() == []
        assert len(tracker) == 0


class TestFinder:
    def test_a_whole_file_is_found_at_once_and_once(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        assert told(finder.whole("x.jpg")) == [("x.jpg", Hint.EVENT)]
        assert told(finder.whole("x.jpg")) == []
        assert scan(finder) == []

    def test_a_new_version_is_found_again(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        list(finder.whole("x.jpg"))
        picture(tmp_path / "x.jpg", b"another")
        assert told(finder.whole("x.jpg")) == [("x.jpg", Hint.EVENT)]

    def test_an_empty_file_is_waited_for(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        picture(tmp_path / "x.jpg", b"")
        assert told(finder.whole("x.jpg")) == []
        clock.now += 2
        assert told(finder.settled()) == [("x.jpg", Hint.SETTLED)]

    def test_a_touched_file_is_found_when_it_has_held_still(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        path = picture(tmp_path / "x.jpg")
        finder.touched("x.jpg")
        clock.now += 1.9
        assert told(finder.settled()) == []
        picture(path, b"it has grown")
        clock.now += 0.1
        assert told(finder.settled()) == []
        clock.now += 2.0
        assert told(finder.settled()) == [("x.jpg", Hint.SETTLED)]

    def test_closing_ends_the_wait(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        picture(tmp_path / "x.jpg")
        finder.touched("x.jpg")
        assert told(finder.whole("x.jpg")) == [("x.jpg", Hint.EVENT)]
        clock.now += 10
        assert told(finder.settled()) == []

    def test_a_touch_that_changes_nothing_is_dropped(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg")
        list(finder.whole("x.jpg"))
        finder.touched("x.jpg")
        assert len(finder.settling) == 0

    def test_a_file_that_goes_while_it_settles_is_forgotten(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        path = picture(tmp_path / "x.jpg")
        finder.touched("x.jpg")
        path.unlink()
        clock.now += 2
        assert told(finder.settled()) == []
        assert len(finder.settling) == 0

    def test_a_file_that_cannot_be_looked_at_is_looked_at_again(
        self, finder: Finder, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture(tmp_path / "x.jpg")

        def broken(self, key):
            raise Unavailable("the disk fails")

        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "stat", broken)
            assert told(finder.whole("x.jpg")) == []
        clock.now += 2
        assert told(finder.settled()) == []
        clock.now += 2
        assert told(finder.settled()) == [("x.jpg", Hint.SETTLED)]

    def test_a_listing_takes_old_files_and_watches_young_ones(
        self, finder: Finder, tmp_path: Path, clock: Clock
    ) -> None:
        picture(tmp_path / "old.jpg", age=60)
        picture(tmp_path / "young.jpg")
        picture(tmp_path / "from the future.jpg", age=-3600)
        assert scan(finder) == [("old.jpg", Hint.SCAN)]
        clock.now += 2
        assert told(finder.settled()) == [("from the future.jpg", Hint.SETTLED), ("young.jpg", Hint.SETTLED)]
        assert scan(finder) == []

    def test_a_listing_does_not_take_what_settles(self, finder: Finder, tmp_path: Path) -> None:
        path = picture(tmp_path / "x.jpg")
        finder.touched("x.jpg")
        os.utime(path, (1, 1))
        assert scan(finder) == []

    def test_a_listing_leaves_out_what_is_no_picture_or_excluded(self, finder: Finder, tmp_path: Path) -> None:
        for name in ("x.txt", "out/x.jpg", ".x.jpg", ".d/x.jpg", "x.jpg.part"):
            picture(tmp_path / name, age=60)
        assert scan(finder) == []
        assert told(finder.whole("out/x.jpg")) == []
        assert told(finder.below("out/")) == []
        assert told(finder.below(".d/")) == []

    def test_a_directory_that_appears_is_listed(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "a" / "b" / "x.jpg", age=60)
        picture(tmp_path / "y.jpg", age=60)
        assert told(finder.below("a/")) == [("a/b/x.jpg", Hint.EVENT)]

    def test_vanished_files_are_forgotten_and_found_when_they_are_back(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "stays.jpg", age=60)
        path = picture(tmp_path / "goes.jpg", age=60)
        assert len(scan(finder)) == 2
        path.rename(tmp_path / "goes.kept")
        assert scan(finder) == []
        (tmp_path / "goes.kept").rename(path)
        assert scan(finder) == [("goes.jpg", Hint.SCAN)]

    def test_an_empty_root_forgets_nothing(self, finder: Finder, tmp_path: Path) -> None:
        path = picture(tmp_path / "x.jpg", age=60)
        assert len(scan(finder)) == 1
        path.rename(tmp_path / "x.kept")
        assert scan(finder) == []
        (tmp_path / "x.kept").rename(path)
        assert scan(finder) == []

    def test_a_listing_ends_when_it_is_to_stop(self, finder: Finder, tmp_path: Path) -> None:
        picture(tmp_path / "x.jpg", age=60)
        stop = threading.Event()
        stop.set()
        assert told(finder.scan(stop)) == []


class TestFirstListing:
    def test_is_handed_out_once_when_its_files_have_settled(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        first = _FirstListing(finder, 20.0, clock)
        picture(tmp_path / "x.jpg")
        scan(finder)
        assert not first.handed_out()
        first.listed()
        assert not first.handed_out()
        clock.now += 2
        assert len(list(finder.settled())) == 1
        assert [first.handed_out(), first.handed_out()] == [True, False]

    def test_does_not_wait_for_later_files(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        first = _FirstListing(finder, 20.0, clock)
        first.listed()
        picture(tmp_path / "x.jpg")
        finder.touched("x.jpg")
        assert first.handed_out()

    def test_does_not_wait_for_ever_for_a_file_that_grows(self, finder: Finder, tmp_path: Path, clock: Clock) -> None:
        first = _FirstListing(finder, 20.0, clock)
        path = picture(tmp_path / "x.jpg")
        scan(finder)
        first.listed()
        for second in range(20):
            assert not first.handed_out()
            clock.now += 1
            picture(path, b"x" * (10 + second))
            finder.touched("x.jpg")
        assert first.handed_out()


class TestMail:
    def test_the_last_change_counts(self) -> None:
        mail = Mail()
        for change in (Change.TOUCHED, Change.WHOLE, Change.TOUCHED):
            mail.add(change, "x")
        assert mail.files == {"x": Change.TOUCHED}

    def test_setting_the_times_of_a_whole_file_leaves_it_whole(self) -> None:
        mail = Mail()
        for change in (Change.TOUCHED, Change.WHOLE, Change.ATTRIBUTES):
            mail.add(change, "x")
        assert mail.files == {"x": Change.WHOLE}

    def test_a_full_inbox_says_that_events_were_lost(self) -> None:
        inbox = Inbox(limit=2)
        for name in "abc":
            inbox.put(Change.WHOLE, name)
        mail = inbox.take(0)
        assert (set(mail.files), mail.lost) == ({"a", "b"}, True)
        assert inbox.take(0) == Mail()


def test_batches_are_full_but_the_last(finder: Finder, tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.jpg", age=60)
    assert [len(batch) for batch in in_batches(finder.scan(threading.Event()), 2)] == [2, 2, 1]
    assert list(in_batches([], 2)) == []
