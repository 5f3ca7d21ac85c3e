from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from inference.codec import encode_png
from watcher.core.errors import Gone, Rejected, SourceMissing, Stale, Unavailable
from watcher.core.jobs import ImageRef, Output
from watcher.stores import atomic, listing
from watcher.stores.base import MAX_IMAGE_BYTES, OutputInfo
from watcher.stores.local import LocalStore
from watcher.stores.output_metadata import output_text, recorded_source

NAMES = ["new\nline.jpg", "quo\"te'.jpg", "grüße 🦊.jpg", "a b+c%20|d.jpg", "-rf.jpg", "*?.jpg", "x" * 251 + ".jpg"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def an_output(key: str, source: str = "a.jpg") -> Output:
    return Output(hashlib.sha256(key.encode()).hexdigest(), ImageRef(source, "1-1-1", 1), key)


def png_of(made: Output) -> bytes:
    return encode_png(np.zeros((4, 5, 4), np.uint8), text=output_text(made))


def keys(store: LocalStore) -> set[str]:
    return {ref.key for ref in store.list()}


def write(path: Path, data: bytes = b"bytes") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, code: int, only: str = "") -> None:
    """Make an os function fail with an error number, for paths that contain `only`."""
    real = getattr(os, function)

    def failing(target, *args, **kwargs):
        if only in str(target):
            raise OSError(code, os.strerror(code), str(target))
        return real(target, *args, **kwargs)

    monkeypatch.setattr(os, function, failing)


class TestUri:
    def test_is_the_same_for_every_way_to_write_the_root(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "link").symlink_to("in")
        ways = [tmp_path / "in", tmp_path / "link", tmp_path / "in" / ".." / "in"]
        assert {LocalStore(way).uri for way in ways} == {(tmp_path / "in").as_uri()}

    def test_is_quoted(self, tmp_path: Path) -> None:
        assert LocalStore(tmp_path / "a b#c%20").uri.endswith("/a%20b%23c%2520")


class TestList:
    def test_gives_every_file_with_its_version(self, store: LocalStore, tmp_path: Path) -> None:
        status = write(tmp_path / "a" / "b" / "c.jpg").stat()
        assert list(store.list()) == [ImageRef("a/b/c.jpg", f"5-{status.st_mtime_ns}-{status.st_ino}", 5)]

    @pytest.mark.parametrize("name", NAMES)
    def test_and_stat_and_read_agree_on_any_name(self, store: LocalStore, tmp_path: Path, name: str) -> None:
        write(tmp_path / "d" / name)
        (ref,) = store.list()
        assert ref == store.stat(f"d/{name}")
        assert store.read(ref) == b"bytes"

    def test_skips_hidden_names_and_special_files(self, store: LocalStore, tmp_path: Path) -> None:
        write(tmp_path / ".hidden.jpg")
        write(tmp_path / ".git" / "x.jpg")
        write(tmp_path / "real.jpg")
        os.mkfifo(tmp_path / "pipe.jpg")
        (tmp_path / "folder.jpg").mkdir()
        assert keys(store) == {"real.jpg"}

    def test_follows_only_links_to_files_below_the_root(self, tmp_path: Path) -> None:
        root = tmp_path / "in"
        inner, outer = write(root / "a" / "inner.jpg"), write(tmp_path / "in-secret" / "outer.jpg", b"secret")
        (root / "link.jpg").symlink_to("a/inner.jpg")
        (root / "leak.jpg").symlink_to(outer)
        (root / "leaks").symlink_to(outer.parent)
        (root / "loop.jpg").symlink_to("loop.jpg")
        (root / "twice").symlink_to("a")
        store = LocalStore(root)
        assert keys(store) == {"a/inner.jpg", "link.jpg"}
        assert [ref.version for ref in store.list()] == [listing.version_of(inner.stat())] * 2
        assert store.stat("leak.jpg") is None

    def test_logs_each_link_that_it_skips_once(self, tmp_path: Path) -> None:
        write(tmp_path / "elsewhere" / "secret.jpg")
        root = tmp_path / "root"
        root.mkdir()
        (root / "folder").symlink_to(tmp_path / "elsewhere")
        (root / "secret.jpg").symlink_to(tmp_path / "elsewhere" / "secret.jpg")
        (root / "nowhere.jpg").symlink_to(tmp_path / "nowhere.jpg")
        (root / "inner.jpg").symlink_to(write(root / "x.jpg"))
        (root / "out").symlink_to(tmp_path / "elsewhere")
        store = LocalStore(root)
        with capture_logs() as lines:
            for _ in range(2):
                assert {ref.key for ref in store.listing(enter=lambda key: key != "out/")} == {"x.jpg", "inner.jpg"}
        skipped = {line["path"].removeprefix(f"{root}/"): line["problem"] for line in lines}
        assert skipped == {
            "folder": "links to folders are not followed",
            "secret.jpg": "it leads to a file outside of the folder",
        }
        assert [line["event"] for line in lines] == ["link_skipped"] * 2

    def test_skips_names_that_are_not_utf8_and_logs_each_once(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[dict[str, str]] = []
        monkeypatch.setattr(listing.log, "warning", lambda event, **fields: told.append(fields), raising=False)
        write(tmp_path / os.fsdecode(b"odd\xff.jpg"))
        write(tmp_path / "even.jpg")
        assert keys(store) == keys(store) == {"even.jpg"}
        assert [fields["path"] for fields in told] == [f"{tmp_path}/odd\\xff.jpg"]

    @pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")])
    def test_raises_if_the_root_is_no_directory(self, tmp_path: Path, make) -> None:
        make(tmp_path / "in")
        with pytest.raises(SourceMissing):
            list(LocalStore(tmp_path / "in").list())

    def test_raises_when_the_root_is_renamed_meanwhile(self, tmp_path: Path) -> None:
        for name in "abc":
            write(tmp_path / "in" / name / "x.jpg")
        refs = LocalStore(tmp_path / "in").list()
        next(refs)
        (tmp_path / "in").rename(tmp_path / "out")
        with pytest.raises(SourceMissing):
            list(refs)

    def test_continues_when_a_directory_vanishes_meanwhile(self, store: LocalStore, tmp_path: Path) -> None:
        paths = [write(tmp_path / name / "x.jpg") for name in "abc"]
        refs = store.list()
        first = next(refs)
        for path in paths:
            if not first.key.startswith(path.parent.name):
                path.unlink()
                path.parent.rmdir()
        assert list(refs) == []

    def test_skips_an_unreadable_directory_and_is_not_complete(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "shut" / "x.jpg")
        write(tmp_path / "open" / "y.jpg")
        refuse(monkeypatch, "scandir", errno.EACCES, "shut")
        found = store.listing()
        assert [ref.key for ref in found] == ["open/y.jpg"]
        assert (found.complete, found.unreadable) == (False, 1)

    def test_raises_when_the_root_is_unreadable(self, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
        refuse(monkeypatch, "scandir", errno.EACCES)
        with pytest.raises(Unavailable, match="let this user read it"):
            list(store.list())

    def test_of_a_prefix_does_not_enter_refused_directories(self, store: LocalStore, tmp_path: Path) -> None:
        for name in ("a/x.jpg", "a/b/y.jpg", "a/out/z.jpg", "c/w.jpg"):
            write(tmp_path / name)
        found = store.listing("a/", lambda key: key != "a/out/")
        assert {ref.key for ref in found} == {"a/x.jpg", "a/b/y.jpg"}
        assert found.complete


class TestRead:
    def test_gives_the_bytes_of_the_version(self, store: LocalStore, tmp_path: Path) -> None:
        write(tmp_path / "x.jpg", b"a" * 100_000)
        (ref,) = store.list()
        assert store.read(ref) == b"a" * 100_000

    def test_is_stale_when_the_file_was_replaced(self, store: LocalStore, tmp_path: Path) -> None:
        write(tmp_path / "x.jpg")
        (ref,) = store.list()
        os.replace(write(tmp_path / "y.jpg"), tmp_path / "x.jpg")
        with pytest.raises(Stale):
            store.read(ref)

    def test_is_stale_when_the_file_changes_while_it_is_read(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "x.jpg")
        (ref,) = store.list()
        real = os.fstat
        looks = []

        def touched_after_the_last_look_before_reading(fd):
            status = real(fd)
            looks.append(status)
            if status.st_size == ref.size and len(looks) == 2:
                os.utime(path, (1, 1))
            return status

        monkeypatch.setattr(os, "fstat", touched_after_the_last_look_before_reading)
        with pytest.raises(Stale):
            store.read(ref)

    def test_of_a_deleted_file_raises_gone(self, store: LocalStore, tmp_path: Path) -> None:
        write(tmp_path / "a" / "x.jpg")
        (ref,) = store.list()
        (tmp_path / "a" / "x.jpg").unlink()
        with pytest.raises(Gone):
            store.read(ref)
        (tmp_path / "a").rmdir()
        write(tmp_path / "a")
        with pytest.raises(Gone):
            store.read(ref)

    def test_is_not_gone_while_the_root_is_missing(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "x.jpg")
        store = LocalStore(tmp_path / "in")
        (ref,) = store.list()
        (tmp_path / "in").rename(tmp_path / "away")
        with pytest.raises(SourceMissing):
            store.read(ref)
        with pytest.raises(SourceMissing):
            store.stat("x.jpg")
        with pytest.raises(SourceMissing):
            store.output_info("x.jpg")

    def test_is_not_gone_while_another_disk_is_mounted_there(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "x.jpg")
        (ref,) = store.list()
        store.read(ref)
        path.unlink()
        device, inode = store.identity()
        monkeypatch.setattr(store, "identity", lambda: (device + 1, inode))
        with pytest.raises(SourceMissing, match="another disk"):
            store.read(ref)

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
    def test_rejects_a_file_without_read_permission(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        write(tmp_path / "x.jpg")
        (ref,) = store.list()
        refuse(monkeypatch, "open", code, "x.jpg")
        with pytest.raises(Rejected, match="permissions") as caught:
            store.read(ref)
        assert caught.value.rejection.reason == "unreadable"

    @pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOSPC, errno.ENOMEM])
    def test_of_a_failing_disk_is_unavailable(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        write(tmp_path / "x.jpg")
        (ref,) = store.list()
        refuse(monkeypatch, "open", code, "x.jpg")
        with pytest.raises(Unavailable):
            store.read(ref)

    def test_of_a_directory_is_rejected(self, store: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "x.jpg").mkdir()
        with pytest.raises(Rejected) as caught:
            store.read(ImageRef("x.jpg", "1-1-1", 1))
        assert caught.value.rejection.reason == "is_directory"

    def test_does_not_block_on_a_pipe(self, store: LocalStore, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x.jpg")
        with pytest.raises(Gone):
            store.read(ImageRef("x.jpg", "1-1-1", 1))

    def test_rejects_a_file_that_is_too_large_without_reading_it(self, store: LocalStore, tmp_path: Path) -> None:
        with (tmp_path / "x.jpg").open("wb") as file:
            file.truncate(MAX_IMAGE_BYTES + 1)  # a hole: it takes no room
        [ref] = store.list()
        with pytest.raises(Rejected, match="larger than the 512 MiB") as caught:
            store.read(ref)
        assert caught.value.rejection.reason == "too_large"

    @pytest.mark.parametrize("key", ["../secret.jpg", "leak.jpg", "leaks/secret.jpg", "/etc/hostname", "a\0b", ""])
    def test_never_leaves_the_root(self, tmp_path: Path, key: str) -> None:
        secret = write(tmp_path / "secret.jpg")
        root = tmp_path / "in"
        root.mkdir()
        (root / "leak.jpg").symlink_to(secret)
        (root / "leaks").symlink_to(tmp_path)
        with pytest.raises(Gone):
            LocalStore(root).read(ImageRef(key, listing.version_of(secret.stat()), 5))


class TestPut:
    @pytest.mark.parametrize("name", [name.replace(".jpg", ".png") for name in NAMES])
    def test_then_output_info_names_the_job(self, store: LocalStore, tmp_path: Path, name: str) -> None:
        made = an_output(f"a/b/{name}", source=f"ä/{name}")
        store.put(made, png_of(made))
        assert store.output_info(made.key) == OutputInfo(made.id, made.ref.key)
        assert names_below(tmp_path) == {"a", "a/b", f"a/b/{name}"}

    def test_replaces_an_earlier_output(self, store: LocalStore, tmp_path: Path) -> None:
        store.put(an_output("x.png"), b"old")
        store.put(an_output("x.png"), b"new")
        assert (tmp_path / "x.png").read_bytes() == b"new"

    def test_follows_the_umask(self, store: LocalStore, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            store.put(an_output("x.png"), b"")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "x.png").stat().st_mode) == 0o640

    def test_syncs_the_file_then_its_directory_and_new_directories_above(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        fsync, replace = os.fsync, os.replace

        def noted_fsync(fd):
            done.append("sync " + os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path))
            fsync(fd)

        def noted_replace(source, target):
            done.append("replace")
            replace(source, target)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(os, "replace", noted_replace)
        store.put(an_output("a/b/x.png"), b"1")
        assert done[:2] == ["sync a", "sync ."]
        assert done[2].startswith("sync a/b/.x.png.")
        assert done[3:] == ["replace", "sync a/b"]
        done.clear()
        store.put(an_output("a/b/y.png"), b"1")
        assert [step.split(".")[0] for step in done] == ["sync a/b/", "replace", "sync a/b"]

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
    @pytest.mark.parametrize("function", ["open", "fsync", "replace"])
    def test_on_a_failing_disk_is_unavailable_and_leaves_nothing(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
    ) -> None:
        write(tmp_path / "x.png", b"old")
        with monkeypatch.context() as patch:
            refuse(patch, function, code, ".part" if function == "open" else "")
            with pytest.raises(Unavailable, match=r"x\.png: .+; .+"):
                store.put(an_output("x.png"), b"new")
        assert names_below(tmp_path) == {"x.png"}
        assert (tmp_path / "x.png").read_bytes() == b"old"

    def test_rejects_when_a_directory_is_in_the_way(self, store: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "x.png").mkdir()
        with pytest.raises(Rejected) as caught:
            store.put(an_output("x.png"), b"")
        assert caught.value.rejection.reason == "output_is_directory"
        assert names_below(tmp_path) == {"x.png"}

    @pytest.mark.parametrize("output", ["x.png/y.png", "x.png/y/z.png"])
    def test_rejects_when_a_file_is_in_the_way(self, store: LocalStore, tmp_path: Path, output: str) -> None:
        write(tmp_path / "x.png")
        with pytest.raises(Rejected) as caught:
            store.put(an_output(output), b"")
        assert caught.value.rejection.reason == "output_blocked"

    @pytest.mark.parametrize("output", ["../x.png", "/x.png", "a/../../x.png", "a//x.png", "", "a\0.png", "\udcff.png"])
    def test_rejects_a_key_that_is_no_path_below_the_root(self, store: LocalStore, output: str) -> None:
        made = Output("id", ImageRef("a.jpg", "1-1-1", 1), output)
        with pytest.raises(Rejected):
            store.put(made, b"")
        assert store.output_info(output) is None
        assert store.stat(output) is None

    def test_rejects_a_directory_that_leads_out(self, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a").symlink_to(tmp_path)
        for output in ("a/x.png", "a/b/x.png"):
            with pytest.raises(Rejected) as caught:
                LocalStore(tmp_path / "out").put(an_output(output), b"")
            assert caught.value.rejection.reason == "output_outside"
        assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is made there either"

    def test_rejects_a_name_that_is_too_long(self, store: LocalStore) -> None:
        with pytest.raises(Rejected) as caught:
            store.put(an_output("x" * 256 + ".png"), b"")
        assert caught.value.rejection.reason == "name_too_long"

    def test_never_creates_the_root(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="mount or create it"):
            LocalStore(tmp_path / "out").put(an_output("x.png"), b"")
        assert not (tmp_path / "out").exists()

    def test_tries_again_when_its_directory_is_deleted_meanwhile(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = atomic.replace_file
        removed: list[str] = []

        def removed_once(target, data):
            if not removed:
                removed.append(target)
                os.rmdir(tmp_path / "_failed")
            real(target, data)

        monkeypatch.setattr(atomic, "replace_file", removed_once)
        store.put_record("_failed/x.jpg.json", b"{}")
        assert names_below(tmp_path) == {"_failed", "_failed/x.jpg.json"}


class TestOutputInfo:
    @pytest.mark.parametrize("size", [0, 5, 8, 100, -12, -1])
    def test_is_none_for_an_incomplete_png(self, store: LocalStore, tmp_path: Path, size: int) -> None:
        made = an_output("x.png")
        write(tmp_path / "x.png", png_of(made)[:size])
        assert store.output_info("x.png") is None

    def test_is_none_for_a_missing_file_and_for_a_directory(self, store: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "d.png").mkdir()
        assert store.output_info("x.png") is None
        assert store.output_info("d.png") is None

    @pytest.mark.parametrize("data", [encode_png(np.zeros((4, 5, 4), np.uint8)), b"GIF89a and more", b"x"])
    def test_is_empty_for_files_of_other_programs(self, store: LocalStore, tmp_path: Path, data: bytes) -> None:
        write(tmp_path / "x.png", data)
        assert store.output_info("x.png") == OutputInfo(None, None)

    def test_works_for_keys_that_do_not_fit_into_the_head(self, store: LocalStore) -> None:
        made = an_output("x.png", source="ä/" * 2000 + "x.jpg")
        store.put(made, png_of(made))
        assert store.output_info("x.png") == OutputInfo(made.id, recorded_source(made.ref.key))

    def test_of_a_failing_disk_raises(self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "x.png")
        refuse(monkeypatch, "open", errno.EACCES, "x.png")
        with pytest.raises(Unavailable):
            store.output_info("x.png")


class TestRecords:
    def test_are_deleted_with_the_directories_they_leave_empty(self, store: LocalStore, tmp_path: Path) -> None:
        store.put_record("_failed/a/b/x.jpg.json", b"{}")
        store.put_record("_failed/a/y.jpg.json", b"{}")
        store.delete("_failed/a/b/x.jpg.json")
        assert names_below(tmp_path) == {"_failed", "_failed/a", "_failed/a/y.jpg.json"}
        store.delete("_failed/a/y.jpg.json")
        assert names_below(tmp_path) == set()

    @pytest.mark.parametrize(
        "key", ["x" * 255, "ü" * 127, "../up.jpg", "a//b.jpg", "./x.jpg", "a\0.jpg", "\udcff.jpg", "\udcff" * 90, "x"]
    )
    def test_of_any_key_are_kept_below_failed(self, store: LocalStore, tmp_path: Path, key: str) -> None:
        store.put_record(f"_failed/{key}.json", b"{}")
        (found,) = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert found.is_relative_to(tmp_path / "_failed")
        assert found.name.endswith(".json")
        store.delete(f"_failed/{key}.json")
        assert names_below(tmp_path) == set()

    def test_elsewhere_must_have_a_key(self, store: LocalStore) -> None:
        with pytest.raises(ValueError, match="no path below"):
            store.put_record("../x.json", b"{}")

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(key=st.text(max_size=40))
    def test_never_escape(self, store: LocalStore, tmp_path: Path, key: str) -> None:
        store.put_record(f"_failed/{key}.json", b"{}")
        assert {path.name for path in tmp_path.iterdir()} == {"_failed"}
        store.delete(f"_failed/{key}.json")
        assert names_below(tmp_path) == set()


class TestDelete:
    def test_removes_the_file_and_no_directory(self, store: LocalStore, tmp_path: Path) -> None:
        write(tmp_path / "a" / "x.png")
        store.delete("a/x.png")
        assert names_below(tmp_path) == {"a"}

    @pytest.mark.parametrize("key", ["x.png", "no/x.png", "d", "../x", ""])
    def test_of_a_missing_file_does_nothing(self, store: LocalStore, tmp_path: Path, key: str) -> None:
        (tmp_path / "d").mkdir()
        store.delete(key)
        assert names_below(tmp_path) == {"d"}

    def test_of_a_failing_disk_raises(self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "x.png")
        refuse(monkeypatch, "unlink", errno.EROFS)
        with pytest.raises(Unavailable):
            store.delete("x.png")


def write_and_hang(target: str, started) -> None:
    """Be in the middle of a put for ever."""

    def hang(source, to):
        started.set()
        signal.pause()

    os.replace = hang  # type: ignore[assignment]
    atomic.replace_file(target, b"data")


class TestSweep:
    def test_deletes_only_the_temporary_files_of_dead_processes(self, store: LocalStore, tmp_path: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        started = spawn.Event()
        (tmp_path / "a").mkdir()
        writer = spawn.Process(target=write_and_hang, args=(str(tmp_path / "a" / "x.png"), started))
        writer.start()
        try:
            assert started.wait(60)
            assert store.sweep() == 0
        finally:
            writer.kill()
            writer.join()
        assert len(names_below(tmp_path)) == 2
        assert store.sweep() == 1
        assert names_below(tmp_path) == {"a"}

    def test_deletes_no_other_files(self, store: LocalStore, tmp_path: Path) -> None:
        ours = atomic.temporary_name("x.png")
        others = {"x.part", ".x.png.part", ".x.png.12-abc.part", ours[1:], ours + "x", "visible.png"}
        for name in others | {ours}:
            write(tmp_path / name)
        assert store.sweep() == 1
        assert names_below(tmp_path) == others

    def test_checks_the_process_id_where_there_are_no_locks(
        self, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_locks(*args):
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr("fcntl.flock", no_locks)
        mine = atomic.temporary_name("mine.png")
        write(tmp_path / mine)
        write(tmp_path / f".dead.png.{2**22 + 1}-{'0' * 16}.part")
        assert store.sweep() == 1
        assert names_below(tmp_path) == {mine}


@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=255))
def test_temporary_names_are_never_too_long_and_are_recognised(name: str) -> None:
    temporary = atomic.temporary_name(name)
    assert len(temporary.encode()) <= 255
    assert temporary.startswith(".")
    assert atomic._PART.fullmatch(temporary)
