"""The folder source on a real directory with real events. No test sleeps to let something happen."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.support import wait_until
from watcher.core.errors import SourceMissing
from watcher.sources import folder, inotify
from watcher.sources.base import Arrival, DiscoveredVia, SourceCallbacks
from watcher.sources.folder import FolderSource
from watcher.sources.source_filter import SourceFilter
from watcher.stores.local import LocalStore

OVERFLOW = "Inotify queue overflowed; filesystem events were lost"  # watchdog 7.1, observers/inotify_c.py
NAMES = ["new\nline.jpg", 'q"uote.jpg', "grüße 🦊.jpg", "a b+c%20|d.jpg", "x" * 251 + ".jpg"]
needs_events = pytest.mark.skipif(not Path("/proc/sys/fs/inotify").exists(), reason="needs inotify")


class Listener:
    """A source that is read in a thread, and everything it reported."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.arrivals: list[Arrival] = []
        self.batches: list[int] = []
        self.health: list[tuple[bool, str]] = []
        self.scans: list[int] = []
        self.overflows = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self.unreadable: list[int] = []
        callbacks = SourceCallbacks(
            self._healthy, self._overflowed, lambda found, seconds: self.scans.append(found), self.unreadable.append
        )
        options = {"settle": 0.4, "rescan": 3600.0, "mode": "events", **options}
        self._source = FolderSource(LocalStore(root), callbacks=callbacks, **options)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    @property
    def listed(self) -> bool:
        return 0 in self.batches

    @property
    def keys(self) -> Counter[str]:
        return Counter(arrival.ref.key for arrival in list(self.arrivals))

    def hints(self, key: str) -> list[DiscoveredVia]:
        return [arrival.discovered_via for arrival in list(self.arrivals) if arrival.ref.key == key]

    def expect(self, *keys: str, timeout: float = 60.0) -> None:
        """Wait until these keys have arrived, and no other has."""
        wait_until(lambda: set(keys) <= set(self.keys), timeout, f"{keys} have not all arrived")
        assert set(self.keys) == set(keys)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        try:
            for batch in self._source.arrivals(self._stop):
                self.arrivals += batch
                self.batches.append(len(batch))
        except BaseException as error:
            self.error = error

    def _healthy(self, ok: bool, why: str) -> None:
        self.health.append((ok, why))

    def _overflowed(self) -> None:
        self.overflows += 1


Listen = Callable[..., Listener]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def listen(root: Path) -> Iterator[Listen]:
    """Start listening; the first listing has been handed out when it returns."""
    listeners: list[Listener] = []

    def start(**options: Any) -> Listener:
        listener = Listener(root, **options)
        listeners.append(listener)
        wait_until(lambda: listener.listed or listener.error, 60)
        return listener

    yield start
    for listener in listeners:
        listener.stop()
        assert listener.error is None


def picture(path: Path, data: bytes = b"bytes", age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if age:
        os.utime(path, (time.time() - age,) * 2)
    return path


def observers() -> list[Any]:
    return threads("InotifyObserver")


def threads(kind: str) -> list[Any]:
    return [thread for thread in threading.enumerate() if type(thread).__name__ == kind]


class TestAtTheStart:
    @pytest.mark.parametrize("mode", ["auto", "events", "polling", "listing"])
    def test_existing_pictures_arrive_and_then_an_empty_batch(self, root: Path, listen: Listen, mode: str) -> None:
        picture(root / "old.jpg", age=60)
        picture(root / "young.jpg", age=-60)  # however late it is looked at
        picture(root / "a" / "b" / "deep.png", age=60)
        picture(root / "note.txt", age=60)
        listener = listen(mode=mode, settle=1.0)
        listener.expect("old.jpg", "young.jpg", "a/b/deep.png")
        assert listener.hints("old.jpg") == [DiscoveredVia.SCAN]
        assert listener.hints("young.jpg") == [DiscoveredVia.SETTLED]
        assert listener.batches.index(0) == len(listener.batches) - 1
        assert listener.scans[0] == 2

    def test_folders_that_cannot_be_read_are_counted_and_the_others_are_listed(
        self, root: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture(root / "shut" / "x.jpg", age=60)
        picture(root / "y.jpg", age=60)
        scandir = os.scandir

        def refusing(path: str) -> Any:
            if path.endswith("/shut/"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)  # root may read everything
        listener = listen(mode="listing")
        listener.expect("y.jpg")
        assert listener.unreadable == [1]

    def test_an_empty_folder_yields_an_empty_batch(self, listen: Listen) -> None:
        assert listen().batches == [0]

    def test_batches_are_small(self, root: Path, listen: Listen) -> None:
        for number in range(1100):
            picture(root / f"{number}.jpg", age=60)
        listener = listen()
        assert sorted(listener.batches) == [0, 100, 500, 500]

    def test_a_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceMissing):
            next(FolderSource(LocalStore(tmp_path / "no")).arrivals(threading.Event()))

    def test_stopping_leaves_no_thread_behind(self, root: Path) -> None:
        before = set(threading.enumerate())
        listener = Listener(root)
        wait_until(lambda: listener.listed)
        listener.stop()
        assert set(threading.enumerate()) <= before


@needs_events
class TestOneFile:
    def test_closed_after_writing_arrives_at_once(self, root: Path, listen: Listen) -> None:
        listener = listen(settle=600.0)
        picture(root / "x.jpg")
        listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.EVENT]

    def test_renamed_from_a_temporary_name_arrives_at_once(self, root: Path, listen: Listen) -> None:
        listener = listen(settle=600.0)
        for temporary in ("x.jpg.part", ".y.jpg.Ab12", "z.jpg.crdownload", "w.jpg~"):
            picture(root / temporary)
        picture(root / "fence.jpg")
        listener.expect("fence.jpg")
        for temporary, name in (("x.jpg.part", "x.jpg"), (".y.jpg.Ab12", "y.jpg"), ("z.jpg.crdownload", "z.jpg")):
            (root / temporary).rename(root / name)
        listener.expect("fence.jpg", "x.jpg", "y.jpg", "z.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.EVENT]

    def test_moved_here_from_outside_arrives_at_once(self, root: Path, tmp_path: Path, listen: Listen) -> None:
        listener = listen(settle=600.0)
        picture(tmp_path / "x.jpg").rename(root / "x.jpg")
        listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.EVENT]

    def test_hard_linked_arrives_when_it_has_settled(self, root: Path, tmp_path: Path, listen: Listen) -> None:
        listener = listen()
        os.link(picture(tmp_path / "x.jpg"), root / "x.jpg")
        listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.SETTLED]

    def test_written_slowly_arrives_once_when_it_is_closed(self, root: Path, listen: Listen) -> None:
        listener = listen(settle=3.0)
        pause = threading.Event()
        with (root / "x.jpg").open("wb", buffering=0) as file:
            for _ in range(40):  # the writer's pace is the case itself: 4 s, more than settle, never still for long
                file.write(b"x" * 1000)
                pause.wait(0.1)
                assert not listener.keys
        listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.EVENT]
        assert listener.arrivals[0].ref.size == 40_000

    def test_written_without_being_closed_arrives_when_it_has_settled(self, root: Path, listen: Listen) -> None:
        listener = listen()
        with (root / "x.jpg").open("wb", buffering=0) as file:
            file.write(b"bytes")
            listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.SETTLED]

    @pytest.mark.parametrize("replace", ["in place", "by rename"])
    def test_replaced_arrives_again(self, root: Path, listen: Listen, replace: str) -> None:
        listener = listen()
        picture(root / "x.jpg", b"old")
        listener.expect("x.jpg")
        if replace == "in place":
            picture(root / "x.jpg", b"newer")
        else:
            picture(root / "x.jpg.tmp", b"newer").rename(root / "x.jpg")
        wait_until(lambda: listener.keys["x.jpg"] == 2)
        assert [arrival.ref.size for arrival in listener.arrivals] == [3, 5]

    def test_deleted_and_created_again_arrives_again(self, root: Path, listen: Listen) -> None:
        listener = listen()
        picture(root / "x.jpg")
        listener.expect("x.jpg")
        (root / "x.jpg").unlink()
        picture(root / "x.jpg", b"again")
        wait_until(lambda: listener.keys["x.jpg"] == 2)

    def test_copied_with_its_times_arrives_in_its_last_version(
        self, root: Path, tmp_path: Path, listen: Listen
    ) -> None:
        listener = listen()
        shutil.copy2(picture(tmp_path / "x.jpg", age=3600), root / "x.jpg")
        last = LocalStore(root).stat("x.jpg")
        wait_until(lambda: last in [arrival.ref for arrival in list(listener.arrivals)])

    def test_read_does_not_arrive_again(self, root: Path, listen: Listen) -> None:
        listener = listen()
        picture(root / "x.jpg")
        listener.expect("x.jpg")
        for _ in range(100):
            (root / "x.jpg").read_bytes()
        picture(root / "fence.jpg")
        listener.expect("x.jpg", "fence.jpg")
        assert listener.keys["x.jpg"] == 1

    def test_touched_without_a_change_does_not_arrive_again(self, root: Path, listen: Listen) -> None:
        listener = listen()
        picture(root / "x.jpg")
        listener.expect("x.jpg")
        (root / "x.jpg").chmod(0o600)
        (root / "x.jpg").open("ab").close()
        picture(root / "fence.jpg")
        listener.expect("x.jpg", "fence.jpg")
        assert listener.keys["x.jpg"] == 1

    @pytest.mark.parametrize("name", NAMES)
    def test_of_any_name_arrives(self, root: Path, listen: Listen, name: str) -> None:
        listener = listen(settle=600.0)
        picture(root / name)
        listener.expect(name)

    def test_of_a_name_that_is_not_utf8_is_skipped(self, root: Path, listen: Listen) -> None:
        listener = listen()
        picture(root / os.fsdecode(b"odd\xff.jpg"))
        picture(root / "fence.jpg")
        listener.expect("fence.jpg")

    def test_linked_from_outside_of_the_folder_is_ignored(self, root: Path, tmp_path: Path, listen: Listen) -> None:
        picture(tmp_path / "secret.jpg", age=60)
        picture(tmp_path / "secrets" / "x.jpg", age=60)
        (root / "before.jpg").symlink_to(tmp_path / "secret.jpg")
        listener = listen()
        (root / "after.jpg").symlink_to(tmp_path / "secret.jpg")
        (root / "after").symlink_to(tmp_path / "secrets")
        picture(root / "real.jpg")
        (root / "inner.jpg").symlink_to("real.jpg")
        listener.expect("real.jpg", "inner.jpg")


@needs_events
class TestDirectories:
    def test_new_ones_are_watched_however_fast_they_are_filled(self, root: Path, listen: Listen) -> None:
        listener = listen()
        names = [f"{top}/b/c/{name}.jpg" for top in range(20) for name in "xy"]
        for name in names:
            picture(root / name)
        listener.expect(*names)
        picture(root / "0/b/c/later.jpg")
        listener.expect(*names, "0/b/c/later.jpg")
        assert set(listener.keys.values()) == {1}

    def test_a_tree_moved_here_arrives(self, root: Path, tmp_path: Path, listen: Listen) -> None:
        listener = listen()
        names = ["x.jpg", "a/y.jpg", "a/b/z.jpg"]
        for name in names:
            picture(tmp_path / "tree" / name, age=60)
        (tmp_path / "tree").rename(root / "tree")
        listener.expect(*(f"tree/{name}" for name in names))
        picture(root / "tree/a/b/later.jpg")
        wait_until(lambda: listener.keys["tree/a/b/later.jpg"] == 1)

    def test_a_renamed_tree_arrives_under_its_new_name(self, root: Path, listen: Listen) -> None:
        picture(root / "old/a/x.jpg", age=60)
        listener = listen()
        (root / "old").rename(root / "new")
        listener.expect("old/a/x.jpg", "new/a/x.jpg")

    def test_a_hidden_tree_arrives_when_it_is_renamed(self, root: Path, listen: Listen) -> None:
        listener = listen()
        picture(root / ".upload/x.jpg", age=60)
        picture(root / "fence.jpg")
        listener.expect("fence.jpg")
        (root / ".upload").rename(root / "upload")
        listener.expect("fence.jpg", "upload/x.jpg")

    def test_the_sink_below_the_source_is_excluded(self, root: Path, listen: Listen) -> None:
        picture(root / "out/before.png", age=60)
        listener = listen(names=SourceFilter(["out/"], ["drafts/"]))
        picture(root / "out/after.png")
        picture(root / "out/a/after.png")
        picture(root / "@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg")
        picture(root / "a/drafts/after.png")
        picture(root / "outdoor.jpg")
        listener.expect("outdoor.jpg")

    def test_every_file_of_a_burst_arrives_once(self, root: Path, listen: Listen) -> None:
        listener = listen(rescan=3.0, settle=1.0)
        names = {f"{number % 7}/{number}.jpg" for number in range(5000)}
        for name in names:
            picture(root / name)
        wait_until(lambda: set(listener.keys) == names, 250)
        listed = len(listener.scans)
        wait_until(lambda: len(listener.scans) > listed, 60)
        assert listener.keys.total() == 5000


@needs_events
class TestFailures:
    def test_lost_events_are_reported_and_a_listing_follows(self, root: Path, listen: Listen) -> None:
        listener = listen()
        listings = len(listener.scans)
        logging.getLogger("watchdog.observers.inotify_c").warning(OVERFLOW)
        wait_until(lambda: len(listener.scans) > listings)
        assert listener.overflows == 1
        wait_until(lambda: len(listener.scans) > listings + 1)

    def test_overflows_are_detected_at_any_log_level(self, listen: Listen) -> None:
        logger = logging.getLogger("watchdog.observers")
        logging.getLogger().setLevel(logging.ERROR)
        try:
            listener = listen()
            logging.getLogger("watchdog.observers.inotify_c").warning(OVERFLOW)
            wait_until(lambda: listener.overflows == 1)
        finally:
            logging.getLogger().setLevel(logging.WARNING)
            logger.setLevel(logging.NOTSET)

    def test_a_listing_finds_pictures_without_an_event(
        self, root: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inotify, "_CHANGES", {})
        monkeypatch.setattr(inotify._Handler, "on_any_event", lambda self, event: None)
        listener = listen(rescan=0.5)
        picture(root / "x.jpg", age=60)
        listener.expect("x.jpg")
        assert listener.hints("x.jpg") == [DiscoveredVia.SCAN]
        assert sum(listener.scans) == 1

    def test_a_root_that_is_renamed_away_and_back_is_waited_for(
        self, root: Path, tmp_path: Path, listen: Listen
    ) -> None:
        picture(root / "before.jpg", age=60)
        listener = listen()
        root.rename(tmp_path / "away")
        wait_until(lambda: [ok for ok, _ in listener.health] == [False])
        assert listener.health[0][1] == SourceMissing.public
        picture(tmp_path / "away" / "meanwhile.jpg", age=60)
        (tmp_path / "away").rename(root)
        wait_until(lambda: [ok for ok, _ in listener.health] == [False, True])
        listener.expect("before.jpg", "meanwhile.jpg")
        picture(root / "after.jpg")
        listener.expect("before.jpg", "meanwhile.jpg", "after.jpg")
        assert listener.keys["before.jpg"] == 1
        assert listener.batches.count(0) == 1

    def test_a_root_that_is_deleted_and_created_again_is_watched_again(self, root: Path, listen: Listen) -> None:
        picture(root / "before.jpg", age=60)
        listener = listen()
        shutil.rmtree(root)
        picture(root / "after.jpg", age=60)
        listener.expect("before.jpg", "after.jpg")
        wait_until(lambda: len(observers()) == 1)
        picture(root / "a/later.jpg")
        listener.expect("before.jpg", "after.jpg", "a/later.jpg")

    def test_a_root_replaced_by_another_directory_is_reported_and_watched(
        self, root: Path, tmp_path: Path, listen: Listen
    ) -> None:
        listener = listen()
        (tmp_path / "new").mkdir()
        root.rename(tmp_path / "old")
        (tmp_path / "new").rename(root)
        wait_until(lambda: (True, "") in listener.health)
        assert listener.health[0][0] is False
        picture(root / "x.jpg")
        listener.expect("x.jpg")

    def test_a_dead_observer_is_replaced(self, root: Path, listen: Listen) -> None:
        listener = listen()
        (observer,) = observers()
        observer.stop()
        picture(root / "x.jpg", age=60)
        listener.expect("x.jpg")
        wait_until(lambda: observers() not in ([], [observer]))
        picture(root / "y.jpg")
        listener.expect("x.jpg", "y.jpg")

    @pytest.mark.parametrize("thread", ["InotifyFD", "InotifyFullEmitter"])
    def test_a_dead_thread_inside_the_observer_is_detected(self, root: Path, listen: Listen, thread: str) -> None:
        listener = listen()
        (dying,) = threads(thread)
        dying.stop()
        picture(root / "x.jpg", age=60)
        listener.expect("x.jpg")
        wait_until(lambda: not dying.is_alive())

    @pytest.mark.parametrize("code", [28, 24])  # ENOSPC, EMFILE
    def test_without_inotify_it_polls_and_names_the_limit_to_raise(
        self, root: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        told: list[str] = []
        monkeypatch.setattr(folder.log, "warning", lambda event, **fields: told.append(fields["remedy"]), raising=False)

        def refused() -> None:
            raise OSError(code, "inotify limit reached")

        monkeypatch.setattr(inotify, "_observer", refused)
        listener = listen(poll=0.2)
        picture(root / "x.jpg")
        listener.expect("x.jpg")
        assert len(told) == 1
        assert "fs.inotify.max_user_watches" in told[0]

    def test_when_a_new_directory_cannot_be_watched_it_polls(
        self, root: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from watchdog.observers.inotify_c import InotifyFD

        real = InotifyFD.add_callback

        def limited(self, path, *rest):
            if path.endswith(b"/full"):
                raise OSError(28, "inotify watch limit reached")
            return real(self, path, *rest)

        monkeypatch.setattr(InotifyFD, "add_callback", limited)
        listener = listen(poll=0.2)
        (root / "full").mkdir()
        wait_until(lambda: not observers())
        picture(root / "full" / "x.jpg")
        listener.expect("full/x.jpg")


class TestPolling:
    def test_finds_new_and_changed_files_without_an_observer(self, root: Path, listen: Listen) -> None:
        listener = listen(mode="polling", poll=0.2)
        assert not observers()
        picture(root / "a/x.jpg", b"old")
        listener.expect("a/x.jpg")
        picture(root / "a/x.jpg", b"newer")
        wait_until(lambda: listener.keys["a/x.jpg"] == 2)
        assert [arrival.ref.size for arrival in listener.arrivals] == [3, 5]

    def test_waits_for_a_missing_root(self, root: Path, tmp_path: Path, listen: Listen) -> None:
        listener = listen(mode="polling", poll=0.2)
        root.rename(tmp_path / "away")
        wait_until(lambda: [ok for ok, _ in listener.health] == [False])
        (tmp_path / "away").rename(root)
        wait_until(lambda: [ok for ok, _ in listener.health] == [False, True])

    def test_is_used_where_there_are_no_events(
        self, root: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folder, "reports_all_changes", lambda path: False)
        listener = listen(mode="auto", poll=0.2)
        assert not observers()
        picture(root / "x.jpg")
        listener.expect("x.jpg")

    def test_listing_does_not_poll(self, root: Path, listen: Listen) -> None:
        listener = listen(mode="listing", poll=0.01, rescan=3600.0)
        assert not observers()
        assert len(listener.scans) == 1
