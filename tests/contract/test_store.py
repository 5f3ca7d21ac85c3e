"""What every store promises. A new one is one more line in STORES; one whose puts are conditional, in GUARDED too."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.codec import encode_png, read_text
from inference.compose import NO_METADATA, OutputSpec, compose
from inference.compose.values import Format
from inference.picture import Cutout
from tests.equipment.moto import moto_server, use_credentials
from watcher.core.errors import Conflict, Gone, Rejected, Stale
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.stores import open_store
from watcher.stores.base import OutputInfo, Store
from watcher.stores.local import LocalStore
from watcher.stores.output_metadata import output_text, recorded_source
from watcher.testing import MemoryStore

KEYS = [
    "plain.jpg",
    "a b/c d .jpg",
    "a+b%20c%2F.jpg",
    "grüße/größe.jpg",
    "日本/写真.jpg",
    "pipe|query?frag#amp&eq=.jpg",
    "quo\"te'`$(x).jpg",
    "-rf *.jpg",
    "back\\slash;semi:colon,@.jpg",
    "🦊.jpg",
    "x" * 240 + "/" + "y" * 240 + "/" + "ü" * 120 + ".jpg",
]
IN_ORDER = [
    *("Z.jpg", "a!.jpg", "a-b/x.jpg", "a.jpg", "a/b.jpg", "a/b/c.jpg", "a/b0.jpg", "a0.jpg"),
    *("b.jpg", "ä.jpg", "日.jpg", "ｱ.jpg", "🦊.jpg"),
]
"""By UTF-8: a folder's slash stands between `.` and `0`, and a fox after everything that UTF-16 puts behind it."""


def open_local(folder: Path) -> Store:
    return LocalStore(folder)


def open_memory(folder: Path) -> Store:
    return MemoryStore()


def open_s3(folder: Path) -> Store:
    moto = moto_server()
    return moto.store(f"s3://{moto.bucket()}")


def open_s3_below_a_prefix(folder: Path) -> Store:
    moto = moto_server()
    bucket = moto.bucket()
    for neighbour in ("a b", "a b.jpg", "a b%C3%BC/x.jpg", "a bü-/x.jpg", "x.jpg"):
        moto.client().put_object(Bucket=bucket, Key=neighbour, Body=b"not ours")
    return moto.store(f"s3://{bucket}/a%20b%C3%BC/")


STORES: dict[str, Callable[[Path], Store]] = {
    "local": open_local,
    "memory": open_memory,
    "s3": open_s3,
    "s3-prefix": open_s3_below_a_prefix,
}
GUARDED = ("memory", "s3", "s3-prefix")


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@pytest.fixture(params=GUARDED)
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


def an_output(key: str = "x.png", source: str = "x.jpg", version: str = "1") -> Output:
    words = f"{key} {source} {version}".encode()
    return Output(hashlib.sha256(words).hexdigest(), ImageRef(source, version, 1), key)


def png_of(made: Output, facts: Facts | None = None) -> bytes:
    return encode_png(np.zeros((4, 5, 4), np.uint8), text=output_text(made, facts))


def put(store: Store, made: Output, over: OutputInfo | None = None) -> None:
    store.put(made, png_of(made), over)


def present(store: Store, key: str) -> ImageRef:
    found = store.stat(key)
    assert found is not None
    return found


def said_of(store: Store, key: str) -> tuple[str | None, str | None]:
    held = store.output_info(key)
    assert held is not None
    return held.id, held.source_key


def test_an_output_says_of_which_source_it_is(store: Store) -> None:
    made = replace(an_output(), root="0123456789abcdef")
    put(store, made)
    held = store.output_info(made.key)
    assert held is not None and held.root == made.root
    put(store, other := an_output(key="y.png"))  # as versions before recorded it
    held = store.output_info(other.key)
    assert held is not None and held.root == ""


class TestAnyKey:
    @pytest.mark.parametrize("key", KEYS)
    def test_is_the_same_in_list_stat_and_read(self, store: Store, key: str) -> None:
        store.put_record(key, b"bytes")
        (ref,) = store.list()
        assert (ref.key, ref.size) == (key, 5)
        assert store.stat(key) == ref
        assert store.read(ref) == b"bytes"

    @pytest.mark.parametrize("key", KEYS)
    def test_may_belong_to_an_output_or_a_source(self, store: Store, key: str) -> None:
        made = an_output(key=key, source=key)
        put(store, made)
        assert said_of(store, key) == (made.id, recorded_source(key))

    @pytest.mark.parametrize("key", KEYS)
    def test_can_be_deleted(self, store: Store, key: str) -> None:
        store.put_record("stays.jpg", b"")
        store.put_record(key, b"")
        store.delete(key)
        assert [ref.key for ref in store.list()] == ["stays.jpg"]


class TestList:
    def test_of_an_empty_store_is_empty(self, store: Store) -> None:
        assert list(store.list()) == []
        assert list(store.list("none/")) == []

    def test_is_in_the_order_of_the_keys_utf8(self, store: Store) -> None:
        for key in reversed(IN_ORDER):
            store.put_record(key, b"")
        assert [ref.key for ref in store.list()] == IN_ORDER
        assert [ref.key for ref in store.list("a/")] == ["a/b.jpg", "a/b/c.jpg", "a/b0.jpg"]

    def test_of_a_prefix_gives_only_its_keys_in_full(self, store: Store) -> None:
        for key in ("a.jpg", "a/x.jpg", "a/b/y.jpg", "a-b/z.jpg", "ab/w.jpg"):
            store.put_record(key, b"")
        assert [ref.key for ref in store.list("a/")] == ["a/b/y.jpg", "a/x.jpg"]

    def test_gives_the_time_of_writing_or_0(self, store: Store) -> None:
        store.put_record("x.jpg", b"")
        (ref,) = store.list()
        assert ref.modified == present(store, "x.jpg").modified
        assert ref.modified == 0 or ref.modified > 1_700_000_000


class TestVersions:
    def test_change_with_the_bytes(self, store: Store) -> None:
        store.put_record("x.jpg", b"old")
        old = present(store, "x.jpg")
        store.put_record("x.jpg", b"newer")
        new = present(store, "x.jpg")
        assert new.version != old.version
        assert store.read(new) == b"newer"
        with pytest.raises(Stale):
            store.read(old)

    def test_of_a_deleted_object_cannot_be_read(self, store: Store) -> None:
        store.put_record("a/x.jpg", b"")
        ref = present(store, "a/x.jpg")
        store.delete("a/x.jpg")
        assert store.stat("a/x.jpg") is None
        with pytest.raises(Gone):
            store.read(ref)

    def test_of_an_object_that_never_existed_are_none(self, store: Store) -> None:
        assert store.stat("x.jpg") is None
        assert store.stat("") is None
        assert store.output_info("x.png") is None

    def test_of_large_objects_are_read_completely(self, store: Store) -> None:
        data = np.random.default_rng(0).bytes(3_000_001)
        store.put_record("x.jpg", data)
        assert store.read(present(store, "x.jpg")) == data


class TestOutputInfo:
    def test_names_the_other_job_after_a_replacement(self, store: Store) -> None:
        put(store, an_output(version="1"))
        put(store, an_output(version="2"), store.output_info("x.png"))
        assert said_of(store, "x.png") == (an_output(version="2").id, "x.jpg")

    def test_is_empty_for_files_of_other_programs(self, store: Store) -> None:
        store.put_record("x.png", b"GIF89a and more")
        assert said_of(store, "x.png") == (None, None)

    def test_recognises_an_output_that_was_copied_here(self, store: Store) -> None:
        store.put_record("x.png", png_of(an_output()))
        assert said_of(store, "x.png") == (an_output().id, "x.jpg")

    @pytest.mark.parametrize("format", [form for form in Format if form is not Format.PNG])
    def test_recognises_an_output_of_every_format(self, store: Store, format: Format) -> None:
        made = an_output(f"x{format.suffix}")
        spec = OutputSpec(format=format, background="white" if format is Format.JPEG else "none")
        pixels = np.full((40, 50, 4), 200, np.uint8)
        store.put_record(made.key, compose(Cutout(pixels), spec, NO_METADATA, output_text(made)).data)
        assert said_of(store, made.key) == (made.id, "x.jpg")

    def test_names_no_job_before_its_output_is_complete(self, store: Store) -> None:
        store.put_record("x.png", png_of(an_output())[:-1])
        held = store.output_info("x.png")
        assert held is None or held.id is None

    def test_works_for_source_keys_of_any_length(self, store: Store) -> None:
        made = an_output(source="ä/" * 2000 + "x.jpg")
        put(store, made)
        assert said_of(store, "x.png") == (made.id, recorded_source(made.ref.key))


class TestPut:
    def test_stores_the_bytes_unchanged(self, store: Store) -> None:
        put(store, an_output("a/b/x.png"))
        assert store.read(present(store, "a/b/x.png")) == png_of(an_output("a/b/x.png"))

    def test_keeps_the_facts_of_the_output(self, store: Store) -> None:
        store.put(an_output(), png_of(an_output(), Facts(1 / 3)), None, Facts(1 / 3))
        assert read_text(store.read(present(store, "x.png")))["alphadrop:matte_coverage"] == "0.3333"
        assert said_of(store, "x.png") == (an_output().id, "x.jpg")

    def test_replaces_a_file_that_the_caller_has_seen(self, store: Store) -> None:
        store.put_record("x.png", b"GIF89a and more")
        put(store, an_output(), store.output_info("x.png"))
        assert said_of(store, "x.png") == (an_output().id, "x.jpg")


class TestConditionalPut:
    def test_of_a_new_output_conflicts_with_an_existing_one(self, guarded: Store) -> None:
        put(guarded, an_output(version="1"))
        with pytest.raises(Conflict):
            put(guarded, an_output(version="2"))
        assert said_of(guarded, "x.png") == (an_output(version="1").id, "x.jpg")

    def test_over_an_output_conflicts_with_a_newer_one(self, guarded: Store) -> None:
        put(guarded, an_output(version="1"))
        seen = guarded.output_info("x.png")
        put(guarded, an_output(version="3"), seen)
        with pytest.raises(Conflict):
            put(guarded, an_output(version="2"), seen)
        assert said_of(guarded, "x.png") == (an_output(version="3").id, "x.jpg")

    def test_over_an_output_conflicts_if_it_was_deleted(self, guarded: Store) -> None:
        put(guarded, an_output(version="1"))
        seen = guarded.output_info("x.png")
        guarded.delete("x.png")
        with pytest.raises(Conflict):
            put(guarded, an_output(version="2"), seen)
        assert guarded.output_info("x.png") is None


class TestRecords:
    def test_are_found_below_failed(self, store: Store) -> None:
        for key in KEYS:
            store.put_record(f"_failed/{key}.json", b"{}")
        put(store, an_output())
        found = [ref.key for ref in store.list("_failed/")]
        assert found == sorted((f"_failed/{key}.json" for key in KEYS), key=str.encode)

    @pytest.mark.parametrize("key", [*KEYS, "x" * 1020 + ".jpg"])
    def test_are_at_their_location(self, store: Store, key: str) -> None:
        store.put_record(f"_failed/{key}.json", b"{}")
        at = store.record_location(f"_failed/{key}.json")
        (ref,) = store.list("_failed/")
        assert (ref.key, store.stat(at), store.read(ref)) == (at, ref, b"{}")
        store.delete(at)
        assert list(store.list()) == []

    def test_may_be_written_again_and_deleted_twice(self, store: Store) -> None:
        store.put_record("_failed/a/x.jpg.json", b"old")
        store.put_record("_failed/a/x.jpg.json", b"new")
        (ref,) = store.list()
        assert store.read(ref) == b"new"
        store.delete("_failed/a/x.jpg.json")
        store.delete("_failed/a/x.jpg.json")
        assert list(store.list()) == []


def test_a_store_can_be_used_from_several_threads(store: Store) -> None:
    made = [an_output(f"{number}/x.png", f"{number}/x.jpg") for number in range(16)]
    threads = [threading.Thread(target=put, args=(store, each)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [said_of(store, each.key) for each in made] == [(each.id, each.ref.key) for each in made]


def test_there_is_nothing_to_sweep_after_clean_writers(store: Store) -> None:
    put(store, an_output())
    assert store.sweep() == 0
    assert len(list(store.list())) == 1


@pytest.mark.parametrize("name", ["local", "s3", "s3-prefix"])
def test_the_uri_opens_the_same_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)
    store = STORES[name](tmp_path)
    store.put_record("x.jpg", b"bytes")
    again = open_store(store.uri, moto_server().config())
    assert again.uri == store.uri
    assert list(again.list()) == list(store.list())


@pytest.mark.parametrize("key", [KEYS[0], KEYS[1], KEYS[4]])
def test_an_image_that_is_put_is_found_and_read_like_any_other(store: Store, key: str) -> None:
    ref = store.put_image(key, b"first")
    assert store.stat(key) == ref == next(iter(store.list())) and store.read(ref) == b"first"
    newer = store.put_image(key, b"second")
    assert newer.version != ref.version and store.read(newer) == b"second"
    with pytest.raises(Stale):
        store.read(ref)


@pytest.mark.parametrize("key", ["", "a/", "\ud800.jpg"])
def test_an_image_cannot_be_put_at_what_is_no_key(tmp_path: Path, key: str) -> None:
    for open_it in (open_local, open_s3):
        with pytest.raises(Rejected):
            open_it(tmp_path).put_image(key, b"data")
