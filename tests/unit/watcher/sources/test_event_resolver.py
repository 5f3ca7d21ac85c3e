"""Which images of a source a message announces, and when the store is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.equipment.moto import moto_server
from watcher.core.counts import Counts
from watcher.core.errors import NotAnEvent, Unavailable
from watcher.core.jobs import ImageRef
from watcher.sources.event_resolver import EventResolver, newest
from watcher.sources.events import WriteEvent, encode_arrival
from watcher.sources.source_filter import SourceFilter
from watcher.stores.local import LocalStore
from watcher.testing import MemoryStore

URI = "s3://shop-photos/in/"


def record(
    key: str, source: str = "minio:s3", bucket: str = "shop-photos", name: str = "ObjectCreated:Put", **written: object
) -> dict[str, Any]:
    """One of S3's records; the key as it is sent."""
    place = {"bucket": {"name": bucket}, "object": {"key": key, "eTag": "etag", "size": 5} | written}
    return {"eventSource": source, "eventName": name, "s3": place}


def message(*records: dict[str, Any]) -> bytes:
    return json.dumps({"Records": records}).encode()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(URI)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def resolver(store: MemoryStore, counts: Counts) -> EventResolver:
    return EventResolver(store, SourceFilter(["out/"]), counts)


def unreachable(store: MemoryStore) -> None:
    """From now on it fails whoever asks it."""
    store.failing["stat"] = Unavailable("no network")


def keys(refs: Sequence[ImageRef]) -> list[str]:
    return [ref.key for ref in refs]


def test_a_complete_event_is_believed_without_a_request(store: MemoryStore, resolver: EventResolver) -> None:
    unreachable(store)
    assert resolver.resolve(message(record("in/shoes/a.jpg"), record("in/b.jpg", eTag="other", size="7"))) == [
        ImageRef("shoes/a.jpg", "etag", 5),
        ImageRef("b.jpg", "other", 7),
    ]


@pytest.mark.parametrize("unknown", [{"eTag": ""}, {"size": ""}, {"size": 0}])
def test_an_incomplete_event_is_looked_up(store: MemoryStore, resolver: EventResolver, unknown: dict[str, Any]) -> None:
    ref = store.write("a.jpg", b"whole")
    assert resolver.resolve(message(record("in/a.jpg", **unknown))) == [ref]


def test_an_upload_that_has_only_begun_is_no_image(store: MemoryStore, resolver: EventResolver) -> None:
    begun = record("in/a.jpg", source="ceph:s3", name="ObjectCreated:Post", eTag="", size=0)
    assert resolver.resolve(message(begun)) == []
    ref = store.write("a.jpg", b"whole")
    assert resolver.resolve(message(begun)) == [ref]


@pytest.mark.parametrize(("source", "likely"), [("aws:s3", "a b.jpg"), ("ceph:s3", "a+b.jpg")])
def test_the_likelier_reading_is_used_if_both_objects_exist(
    store: MemoryStore, resolver: EventResolver, source: str, likely: str
) -> None:
    store.write("a b.jpg", b"1")
    store.write("a+b.jpg", b"2")
    assert keys(resolver.resolve(message(record("in/a+b.jpg", source)))) == [likely]


@pytest.mark.parametrize(("source", "unlikely"), [("aws:s3", "a+b.jpg"), ("ceph:s3", "a b.jpg")])
def test_the_other_reading_is_used_if_only_its_object_exists(
    store: MemoryStore, resolver: EventResolver, source: str, unlikely: str
) -> None:
    ref = store.write(unlikely, b"1")
    assert resolver.resolve(message(record("in/a+b.jpg", source))) == [ref]


def test_the_likelier_reading_is_used_if_no_object_exists(resolver: EventResolver) -> None:
    assert resolver.resolve(message(record("in/a+b.jpg", "aws:s3"))) == [ImageRef("a b.jpg", "etag", 5)]


@pytest.mark.parametrize("written", [{}, {"eTag": ""}])
@pytest.mark.parametrize(
    ("key", "bucket"),
    [
        ("in/a.jpg", "other"),
        ("in/a.jpg", "shop"),
        ("in/a.jpg", "shop-photos/in"),
        ("a.jpg", "shop-photos"),
        ("into/a.jpg", "shop-photos"),
        ("in", "shop-photos"),
        ("in/", "shop-photos"),
        ("In/a.jpg", "shop-photos"),
        ("x/in/a.jpg", "shop-photos"),
        ("in/a.txt", "shop-photos"),
        ("in/.a.jpg", "shop-photos"),
        ("in/out/a.jpg", "shop-photos"),
    ],
)
def test_other_objects_are_ignored_without_a_request(
    store: MemoryStore, resolver: EventResolver, key: str, bucket: str, written: dict[str, Any]
) -> None:
    unreachable(store)
    assert resolver.resolve(message(record(key, bucket=bucket, **written))) == []


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("s3://shop-photos/", "a.jpg"),
        ("s3://shop-photos/", "in/a.jpg"),
        ("s3://shop-photos/in/", "in/a.jpg"),
        ("s3://shop-photos/red%20shoes/50%25/h%C3%BCte/", "red shoes/50%/hüte/a.jpg"),
        ("s3://shop-photos/a%2Bb/c%3Fd%23e/", "a+b/c?d#e/a.jpg"),
    ],
)
def test_a_key_is_relative_to_the_sources_prefix(uri: str, key: str) -> None:
    store = MemoryStore(uri)
    sent = json.loads(message(record(quote_plus(key)))) | {"Key": f"shop-photos/{key}"}
    expected = key if uri == "s3://shop-photos/" else "a.jpg"
    unreachable(store)
    assert keys(EventResolver(store, SourceFilter()).resolve(json.dumps(sent).encode())) == [expected]


@pytest.mark.parametrize("uri", ["file:///in", "memory://shop-photos/in/", "http://shop-photos/in/"])
def test_a_buckets_event_is_ignored_by_other_kinds_of_source(uri: str) -> None:
    assert EventResolver(MemoryStore(uri), SourceFilter()).resolve(message(record("in/a.jpg"))) == []


@pytest.mark.parametrize("uri", [URI, "file:///photos"])
def test_our_own_message_names_its_source(uri: str) -> None:
    ref = ImageRef("shoes/a+b%20.jpg", "5-6-7", 5, 1722937296.5)
    store = MemoryStore(uri)
    unreachable(store)
    found = EventResolver(store, SourceFilter()).resolve(encode_arrival(uri, ref))
    assert (found, found[0].modified) == ([ref], ref.modified)


@pytest.mark.parametrize("other", [URI[:-1], URI + "x/", "file:///photos", "s3://" + "x" * 9999, "\ud800\n"])
def test_our_own_message_about_another_source_is_an_error(
    store: MemoryStore, resolver: EventResolver, counts: Counts, other: str
) -> None:
    unreachable(store)
    with pytest.raises(NotAnEvent, match="`watch` and `work` must be given the same one") as caught:
        resolver.resolve(encode_arrival(other, ImageRef("a.jpg", "1", 5)))
    said = str(caught.value)
    assert repr(other)[:100].rstrip("'") in said and repr(URI) in said
    assert len(said) < 1000 and said.isprintable()
    assert counts.snapshot() == {"event_messages": {"invalid": 1}}


@pytest.mark.parametrize("known", [{}, {"version": "1", "size": 5}])
@pytest.mark.parametrize("key", ["\0.jpg", "a\0/b.jpg", "\ud800.jpg", "a/\udcff.jpg"])
def test_a_key_that_no_object_can_have_is_no_image(tmp_path: Path, key: str, known: dict[str, object]) -> None:
    moto = moto_server()
    for store in (MemoryStore(URI), LocalStore(tmp_path), moto.store(f"s3://{moto.bucket()}/in/")):
        sent = json.dumps({"alphadrop": 1, "source": store.uri, "key": key} | known).encode()
        assert EventResolver(store, SourceFilter()).resolve(sent) == []


def test_our_own_message_without_a_version_is_looked_up(store: MemoryStore, resolver: EventResolver) -> None:
    ref = store.write("a.jpg", b"whole")
    assert resolver.resolve(json.dumps({"alphadrop": 1, "source": URI, "key": "a.jpg"}).encode()) == [ref]


def test_our_own_message_cannot_name_an_excluded_image(resolver: EventResolver) -> None:
    assert resolver.resolve(encode_arrival(URI, ImageRef("out/a.jpg", "1", 5))) == []


def test_one_version_is_announced_once(resolver: EventResolver) -> None:
    assert len(resolver.resolve(message(record("in/a.jpg"), record("in/a.jpg")))) == 1


def test_the_newest_version_of_a_key_counts(resolver: EventResolver) -> None:
    versions = {"old": "0066B1F2A2447E", "newest": "0066B1F2A9", "older": "0066b1f2a01c"}
    records = [record("in/a.jpg", "aws:s3", eTag=etag, sequencer=order) for etag, order in versions.items()]
    other = record("in/b.jpg", "aws:s3", sequencer="0000000001")
    assert resolver.resolve(message(*records, other)) == [ImageRef("a.jpg", "newest", 5), ImageRef("b.jpg", "etag", 5)]


def test_events_without_an_order_are_all_kept() -> None:
    some = [WriteEvent("a", "b", version="1"), WriteEvent("a", "b", version="2", sequencer="AA"), WriteEvent("a", "c")]
    assert newest(some) == some
    assert newest([]) == []


def test_a_message_is_neither_resolved_nor_counted_while_the_store_is_unavailable(
    store: MemoryStore, resolver: EventResolver, counts: Counts
) -> None:
    unreachable(store)
    with pytest.raises(Unavailable):
        resolver.resolve(message(record("in/a.jpg", eTag="")))
    assert counts.snapshot() == {}


def test_messages_are_counted_by_their_result(resolver: EventResolver, counts: Counts) -> None:
    for _ in range(3):
        resolver.resolve(message(record("in/a.jpg"), record("in/b.jpg"), record("elsewhere/c.jpg")))
    for ignored in (message(), message(record("in/a.txt"))):
        resolver.resolve(ignored)
    with pytest.raises(NotAnEvent, match="not JSON"):
        resolver.resolve(b"hello")
    resolver.resolve(encode_arrival(URI, ImageRef("a.jpg", "etag", 5)))  # from `watch`
    assert counts.snapshot() == {"event_messages": {"accepted": 3, "ignored": 2, "own": 1, "invalid": 1}}
