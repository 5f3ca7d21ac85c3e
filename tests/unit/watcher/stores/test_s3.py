from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.codec import encode_png
from tests.equipment.moto import moto_server, use_credentials
from tests.equipment.scripted_proxy import Answer, ScriptedProxy, refusal, scripted_proxy, times
from watcher.aws.clients import AwsOptions, make_client
from watcher.core.counts import Counts
from watcher.core.errors import (
    ConfigurationError,
    Conflict,
    Denied,
    Gone,
    Rejected,
    SourceMissing,
    Stale,
    Throttled,
    Unavailable,
)
from watcher.core.jobs import Facts, ImageRef, Output
from watcher.stores import open_store, s3
from watcher.stores.base import MAX_IMAGE_BYTES, OutputInfo
from watcher.stores.output_metadata import output_text
from watcher.stores.s3 import S3Store
from watcher.stores.s3_config import NO_CONDITIONAL_WRITES, ConditionalWrites, PutOptions, S3Config


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(monkeypatch)
    monkeypatch.setattr(s3, "READ_PAUSE", 0.0)


@pytest.fixture
def client() -> Any:
    return moto_server().client()


@pytest.fixture
def bucket() -> str:
    return moto_server().bucket()


@pytest.fixture
def store(bucket: str) -> S3Store:
    return moto_server().store(f"s3://{bucket}/in/")


@pytest.fixture(scope="module")
def running_proxy() -> Iterator[ScriptedProxy]:
    with scripted_proxy(moto_server().port) as running:
        yield running


@pytest.fixture(scope="module")
def proxy_client(running_proxy: ScriptedProxy) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        use_credentials(patch)
        return make_client("s3", AwsOptions(running_proxy.endpoint, attempts=1), Counts())


@pytest.fixture
def proxy(running_proxy: ScriptedProxy) -> ScriptedProxy:
    fresh = ScriptedProxy(running_proxy.port)
    vars(running_proxy).update(vars(fresh))
    return running_proxy


@pytest.fixture
def behind(proxy: ScriptedProxy, proxy_client: Any, bucket: str) -> S3Store:
    """A store that is reached through the proxy, a request once."""
    return S3Store(f"s3://{bucket}/in/", proxy_client)


def an_output(key: str = "x.png", source: str = "x.jpg", version: str = "1") -> Output:
    return Output(hashlib.sha256(f"{key}{source}{version}".encode()).hexdigest(), ImageRef(source, version, 1), key)


def png_of(made: Output) -> bytes:
    return encode_png(np.zeros((4, 5, 4), np.uint8), text=output_text(made))


def written(store: S3Store, key: str = "x.jpg", data: bytes = b"bytes") -> ImageRef:
    """Put an object as a user would, and look at it."""
    moto_server().client().put_object(**store.place(key), Body=data)
    found = store.stat(key)
    assert found is not None
    return found


def keys_in(bucket: str) -> set[str]:
    return {entry["Key"] for entry in moto_server().client().list_objects_v2(Bucket=bucket).get("Contents", ())}


class TestUri:
    @pytest.mark.parametrize(
        ("way", "uri"),
        [
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
            ("s3://bucket/a/b", "s3://bucket/a/b/"),
            ("s3://bucket/a/b/", "s3://bucket/a/b/"),
            ("s3://bucket/a%20b%23%C3%BC%2520", "s3://bucket/a%20b%23%C3%BC%2520/"),
        ],
    )
    def test_is_the_same_for_every_way_to_write_it(self, client: Any, way: str, uri: str) -> None:
        assert S3Store(way, client).uri == uri
        assert S3Store(uri, client).uri == uri


class TestList:
    def test_skips_folder_markers_and_reads_further_pages(self, store: S3Store, bucket: str, client: Any) -> None:
        for key in ("in/", "in/a/", "in/a/x.jpg", "inner.jpg", "in"):
            client.put_object(Bucket=bucket, Key=key, Body=b"")
        real, pages = store.client.get_paginator, []

        class Small:
            """A paginator whose pages hold two."""

            def paginate(self, **arguments: str) -> Iterator[dict[str, Any]]:
                for page in real("list_objects_v2").paginate(**arguments, PaginationConfig={"PageSize": 2}):
                    pages.append(page)
                    yield page

        for number in range(4):
            written(store, f"b +{number}.jpg")
        small = S3Store(store.uri, _With(store.client, get_paginator=lambda name: Small()))
        assert [ref.key for ref in small.list()] == ["a/x.jpg", *(f"b +{number}.jpg" for number in range(4))]
        assert len(pages) == 4

    def test_gives_versions_sizes_and_times(self, store: S3Store) -> None:
        ref = written(store, data=b"bytes")
        assert list(store.list()) == [ImageRef("x.jpg", hashlib.md5(b"bytes").hexdigest(), 5)]
        assert next(store.list()).modified == ref.modified > 1_700_000_000

    def test_of_a_missing_bucket_raises(self) -> None:
        with pytest.raises(SourceMissing, match="does not exist"):
            list(moto_server().store("s3://nobody-has-this").list())

    def test_that_breaks_off_raises(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        proxy.instead = times(1, refusal(403, "AccessDenied", "Not allowed to list."), "GET")
        with pytest.raises(Denied, match=r"listing s3://.*Not allowed to list.*policy"):
            list(behind.list())


class TestStat:
    def test_does_not_take_a_missing_bucket_for_a_missing_image(self, store: S3Store, bucket: str, client: Any) -> None:
        missing = moto_server().store("s3://nobody-has-this")
        with pytest.raises(SourceMissing, match="does not exist"):
            missing.stat("x.jpg")

    def test_checks_the_bucket_at_intervals(
        self, behind: S3Store, proxy: ScriptedProxy, bucket: str, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert behind.stat("x.jpg") is None
        assert behind.stat("y.jpg") is None
        assert proxy.seen == [f"HEAD /{bucket}/in/x.jpg", f"HEAD /{bucket}", f"HEAD /{bucket}/in/y.jpg"]
        client.delete_bucket(Bucket=bucket)
        now = time.monotonic() + s3.BUCKET_CHECK_SECONDS
        monkeypatch.setattr(time, "monotonic", lambda: now)
        with pytest.raises(SourceMissing):
            behind.stat("x.jpg")

    def test_that_is_refused_names_the_missing_permission(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        proxy.instead = times(1, Answer(403), "HEAD")
        with pytest.raises(Denied, match="s3:GetObject, and s3:ListBucket"):
            behind.stat("x.jpg")
        proxy.instead = times(9, Answer(400), "HEAD")  # boto3 asks again, in case it is another region's bucket
        with pytest.raises(Denied, match="renew"):
            behind.stat("x.jpg")

    @pytest.mark.parametrize("key", ["", "a/", "x" * 1100, "\udcff.jpg"])
    def test_of_an_invalid_key_is_none(self, store: S3Store, key: str) -> None:
        assert store.stat(key) is None


class TestRead:
    def test_reads_any_version_if_none_is_given(self, store: S3Store) -> None:
        written(store)
        assert store.read(ImageRef("x.jpg", "", 0)) == b"bytes"

    @pytest.mark.parametrize("key", ["", "a/", "x" * 1100, "\udcff.jpg"])
    def test_of_an_invalid_key_is_gone(self, store: S3Store, key: str) -> None:
        with pytest.raises(Gone):
            store.read(ImageRef(key, "1", 1))

    def test_keeps_its_connection(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind, data=b"b" * 100_000)
        proxy.connections = 0
        for _ in range(3):
            behind.read(ref)
            behind.output_info("x.jpg")
        assert proxy.connections <= 1

    def test_is_repeated_when_the_body_breaks_off(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind, data=b"b" * 100_000)
        left = [1000, 99_999]

        def cut(method: str, answer: Answer) -> Answer:
            short = method == "GET" and left
            return replace(answer, cut=left.pop()) if short else answer

        proxy.changed = cut
        assert behind.read(ref) == b"b" * 100_000
        assert proxy.methods().count("GET") == 3

    def test_gives_up_when_every_body_breaks_off(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        proxy.changed = lambda method, answer: replace(answer, cut=1)
        with pytest.raises(Unavailable, match=r"reading s3://.*/in/x\.jpg"):
            behind.read(ref)
        assert proxy.methods().count("GET") == s3.READ_ATTEMPTS

    def test_is_stale_when_the_object_changes_between_two_attempts(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)

        def cut_and_replaced(method: str, answer: Answer) -> Answer:
            if method == "GET" and answer.status == 200:
                moto_server().client().put_object(**behind.place("x.jpg"), Body=b"other")
            return replace(answer, cut=1) if answer.status == 200 else answer

        proxy.changed = cut_and_replaced
        with pytest.raises(Stale):
            behind.read(ref)

    def test_rejects_an_object_that_is_too_large_without_reading_it(
        self, behind: S3Store, proxy: ScriptedProxy
    ) -> None:
        ref = written(behind)
        proxy.changed = lambda method, answer: replace(
            answer, headers={"Content-Length": str(MAX_IMAGE_BYTES + 1), "Connection": "close"}
        )
        with pytest.raises(Rejected) as caught:
            behind.read(ref)
        assert caught.value.rejection.reason == "too_large"

    def test_rejects_an_archived_object(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        proxy.instead = times(1, refusal(403, "InvalidObjectState"), "GET")
        with pytest.raises(Rejected, match="restore") as caught:
            behind.read(ImageRef("x.jpg", "1", 1))
        assert caught.value.rejection.reason == "archived"

    def test_does_not_take_a_missing_bucket_for_a_missing_image(self, proxy: ScriptedProxy, proxy_client: Any) -> None:
        missing = S3Store("s3://nobody-has-this", proxy_client)
        with pytest.raises(SourceMissing):
            missing.read(ImageRef("x.jpg", "1", 1))
        proxy.instead = times(1, Answer(404), "GET")  # by a store that gives no reasons
        with pytest.raises(SourceMissing):
            missing.read(ImageRef("x.jpg", "1", 1))

    def test_that_is_throttled_raises_throttled(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        proxy.instead = times(1, refusal(503, "SlowDown"), "GET")
        with pytest.raises(Throttled):
            behind.read(ref)


class TestOutputInfo:
    def test_needs_only_the_metadata(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        made = an_output(source="ä b|+%.jpg")
        behind.put(made, png_of(made))
        proxy.seen.clear()
        held = behind.output_info("x.png")
        assert held == OutputInfo(made.id, "ä b|+%.jpg", hashlib.md5(png_of(made)).hexdigest())
        assert proxy.methods() == ["HEAD"]

    def test_of_a_missing_object_sends_one_request(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        assert behind.output_info("x.png") is None
        assert proxy.methods() == ["HEAD"]

    def test_reads_only_head_and_tail_of_a_copied_output(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        made = an_output()
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 4), np.uint8)
        data = encode_png(noise, text=output_text(made))
        version = written(behind, "x.png", data).version
        proxy.seen.clear()
        sizes: list[int] = []

        def weighed(method: str, answer: Answer) -> Answer:
            sizes.append(len(answer.body))
            return answer

        proxy.changed = weighed
        assert behind.output_info("x.png") == OutputInfo(made.id, "x.jpg", version)
        assert proxy.methods() == ["HEAD", "GET", "GET"]
        assert sum(sizes) < 5000 < len(data)

    @pytest.mark.parametrize("size", [0, 5, -12, -1])
    def test_of_an_incomplete_png_names_no_job_but_its_version(self, store: S3Store, size: int) -> None:
        version = written(store, "x.png", png_of(an_output())[:size]).version
        held = store.output_info("x.png")
        assert held is not None
        assert (held.id, held.version) == (None, version)
        assert held.source_key == ("x.jpg" if size < 0 else None)

    def test_of_an_object_deleted_meanwhile_is_none(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        written(behind, "x.png", png_of(an_output()))
        proxy.instead = times(1, refusal(404, "NoSuchKey"), "GET")
        assert behind.output_info("x.png") is None

    def test_of_an_object_changed_meanwhile_is_unavailable(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        written(behind, "x.png", png_of(an_output()))
        proxy.instead = times(1, refusal(412, "PreconditionFailed"), "GET")
        with pytest.raises(Unavailable, match="changed"):
            behind.output_info("x.png")


class TestPut:
    def test_writes_job_and_source_into_the_metadata(self, store: S3Store, client: Any) -> None:
        made = an_output(source="日本/a b.jpg", version="abc-2")
        store.put(made, png_of(made))
        found = client.head_object(**store.place("x.png"))
        assert found["ContentType"] == "image/png"
        assert found["Metadata"] == {
            "alphadrop-job": made.id,
            "alphadrop-source": "%E6%97%A5%E6%9C%AC/a%20b.jpg",
            "alphadrop-version": "abc-2",
        }

    def test_writes_the_matte_coverage_into_the_metadata_if_known(self, store: S3Store, client: Any) -> None:
        store.put(an_output(), png_of(an_output()), facts=Facts(0.25))
        said = client.head_object(**store.place("x.png"))["Metadata"]
        assert said["alphadrop-matte-coverage"] == "0.2500"
        assert store.output_info("x.png") == OutputInfo(an_output().id, "x.jpg")

    def test_leaves_a_source_key_that_is_too_long_to_the_png(self, store: S3Store, client: Any) -> None:
        made = an_output(source="日" * 300 + ".jpg")
        store.put(made, png_of(made))
        said = client.head_object(**store.place("x.png"))["Metadata"]
        assert "alphadrop-source" not in said
        assert sum(len(name) + len(value) for name, value in said.items()) < 2048
        held = store.output_info("x.png")
        assert held is not None and (held.id, held.source_key) == (made.id, made.ref.key)

    def test_stores_outputs_and_records_with_the_options(self, bucket: str, client: Any) -> None:
        options = PutOptions("STANDARD_IA", "the-key", "team=shop + co,kind=cut-out", "bucket-owner-full-control")
        store = moto_server().store(f"s3://{bucket}", options)
        store.put(an_output(), png_of(an_output()))
        store.put_record("_failed/x.jpg.json", b"{}")
        output = client.head_object(Bucket=bucket, Key="x.png")
        assert (output["StorageClass"], output["SSEKMSKeyId"]) == ("STANDARD_IA", "the-key")
        assert output["ServerSideEncryption"] == "aws:kms"
        tags = client.get_object_tagging(Bucket=bucket, Key="x.png")["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "shop + co", "kind": "cut-out"}
        record = client.head_object(Bucket=bucket, Key="_failed/x.jpg.json")
        assert (record["ContentType"], record["SSEKMSKeyId"]) == ("application/json", "the-key")
        assert "StorageClass" not in record

    def test_whose_answer_is_lost_conflicts_with_itself(self, proxy: ScriptedProxy, bucket: str) -> None:
        patient = S3Store(f"s3://{bucket}", make_client("s3", AwsOptions(proxy.endpoint), Counts()))
        lost = [Answer(500)]
        proxy.changed = lambda method, answer: lost.pop() if lost and method == "PUT" else answer
        with pytest.raises(Conflict):
            patient.put(an_output(), png_of(an_output()))
        held = patient.output_info("x.png")
        assert held is not None and held.id == an_output().id

    @pytest.mark.parametrize("status", [409, 412])
    def test_over_a_newer_output_conflicts(self, behind: S3Store, proxy: ScriptedProxy, status: int) -> None:
        proxy.instead = times(1, refusal(status, "ConditionalRequestConflict"), "PUT")
        with pytest.raises(Conflict):
            behind.put(an_output(), b"")

    def test_is_won_by_one_of_many(self, store: S3Store) -> None:
        start = threading.Barrier(8)
        results: list[str] = []

        def race(number: int) -> None:
            made = an_output(version=str(number))
            start.wait()
            try:
                store.put(made, png_of(made))
                results.append(made.id)
            except Conflict:
                results.append("")

        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        held = store.output_info("x.png")
        # moto looks and writes in two steps, so more than one may get through: the last of them is held.
        assert held is not None and held.id in results

    def test_of_a_missing_bucket_is_unavailable(self) -> None:
        store = moto_server().store("s3://nobody-has-this")
        with pytest.raises(Unavailable, match="does not exist") as caught:
            store.put(an_output(), b"")
        assert not isinstance(caught.value, SourceMissing)

    @pytest.mark.parametrize(
        ("output", "reason"), [("", "bad_name"), ("a/", "bad_name"), ("x" * 1100, "name_too_long")]
    )
    def test_rejects_an_invalid_key(self, store: S3Store, output: str, reason: str) -> None:
        with pytest.raises(Rejected) as caught:
            store.put(Output("id", ImageRef("x.jpg", "1", 1), output), b"")
        assert caught.value.rejection.reason == reason

    def test_rejects_a_key_that_is_too_long_for_the_store(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        proxy.instead = times(1, refusal(400, "KeyTooLongError"), "PUT")
        with pytest.raises(Rejected, match="rename the image"):
            behind.put(an_output(), b"")

    def test_without_conditional_writes_replaces_any_object(self, bucket: str) -> None:
        store = moto_server().store(f"s3://{bucket}", conditional_writes=NO_CONDITIONAL_WRITES)
        store.put(an_output(version="1"), png_of(an_output(version="1")))
        store.put(an_output(version="2"), png_of(an_output(version="2")))
        store.put(an_output(version="3"), png_of(an_output(version="3")), OutputInfo(None, None, "wrong"))
        held = store.output_info("x.png")
        assert held is not None and held.id == an_output(version="3").id


class TestErrors:
    @pytest.mark.parametrize("prefix", ["", "/in/"])
    @pytest.mark.parametrize("key", ["", "/", "a/", "\0.jpg", "\udcff.jpg", "\ud800/", "..", "\x7f", "x" * 1020])
    def test_about_an_images_key_are_never_configuration_errors(self, bucket: str, prefix: str, key: str) -> None:
        store = moto_server().store(f"s3://{bucket}{prefix}")
        ref = ImageRef(key, "1", 1)
        asked: list[Callable[[], object]] = [
            lambda: store.stat(key),
            lambda: store.output_info(key),
            lambda: store.read(ref),
            lambda: store.put(Output("id", ref, key), b""),
            lambda: store.delete(key),
            lambda: store.put_record(f"_failed/{key}.json", b"{}"),
            lambda: store.tag(ref, "alphadrop", "done"),
            lambda: store.move(ref, "done/"),
            lambda: store.delete_version(ref),
        ]
        for ask in asked:
            with suppress(Gone, Stale, Rejected):
                ask()

    def test_about_a_buckets_name_are_configuration_errors(self) -> None:
        with pytest.raises(ConfigurationError, match="Invalid bucket name"):
            moto_server().store("s3://No Bucket!").stat("x.jpg")


class TestRecords:
    @pytest.mark.parametrize("key", ["x" * 1020, "ü" * 510, "\udcff.jpg"])
    def test_of_any_key_are_kept_below_failed(self, store: S3Store, bucket: str, key: str) -> None:
        store.put_record(f"_failed/{key}.json", b"{}")
        store.put_record(f"_failed/{key}y.json", b"{}")
        found = keys_in(bucket)
        assert len(found) == 2
        assert all(name.startswith("in/_failed/") and name.endswith(".json") for name in found)
        store.delete(f"_failed/{key}.json")
        store.delete(f"_failed/{key}y.json")
        assert keys_in(bucket) == set()

    @pytest.mark.parametrize("key", ["x.jpg", "x" * 1020, "ü" * 510, "日/" * 400 + "x.jpg", "\udcff.jpg"])
    def test_are_found_at_their_location(self, store: S3Store, key: str) -> None:
        store.put_record(f"_failed/{key}.json", b"{}")
        at = store.record_location(f"_failed/{key}.json")
        (ref,) = store.list("_failed/")
        assert (ref.key, store.stat(at), store.record_location(at)) == (at, ref, at)
        assert store.read(ref) == b"{}"
        store.delete(at)
        assert list(store.list()) == []

    def test_that_cannot_be_deleted_raise(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        proxy.instead = times(1, refusal(403, "AccessDenied"), "DELETE")
        with pytest.raises(Denied):
            behind.delete("_failed/x.jpg.json")

    @pytest.mark.parametrize("answer", [refusal(404, "NoSuchKey"), Answer(404)])
    def test_may_be_deleted_already(self, behind: S3Store, proxy: ScriptedProxy, answer: Answer) -> None:
        proxy.instead = times(1, answer, "DELETE")  # as some stores say, and Amazon's does not
        behind.delete("_failed/x.jpg.json")


def replaced_before(proxy: ScriptedProxy, store: S3Store, method: str) -> None:
    """Another version comes just before the first request of that kind."""
    left = [1]

    def instead(now: str, path: str) -> Answer | None:
        if now == method and left:
            left.pop()
            moto_server().client().put_object(**store.place("x.jpg"), Body=b"other")
        return None

    proxy.instead = instead


class TestTag:
    def test_keeps_the_other_tags(self, store: S3Store, client: Any) -> None:
        client.put_object(**store.place("x.jpg"), Body=b"", Tagging="team=shop&alphadrop=todo")
        ref = store.stat("x.jpg")
        assert ref is not None
        store.tag(ref, "alphadrop", "done")
        tags = client.get_object_tagging(**store.place("x.jpg"))["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "shop", "alphadrop": "done"}
        assert store.stat("x.jpg") == ref

    def test_leaves_an_object_with_the_maximum_of_tags(self, store: S3Store, client: Any) -> None:
        full = "&".join(f"tag{number}=x" for number in range(10))
        client.put_object(**store.place("x.jpg"), Body=b"", Tagging=full)
        store.tag(ImageRef("x.jpg", "", 0), "alphadrop", "done")
        assert len(client.get_object_tagging(**store.place("x.jpg"))["TagSet"]) == 10

    def test_leaves_another_version_alone(self, store: S3Store, client: Any) -> None:
        ref = written(store)
        written(store, data=b"other")
        with pytest.raises(Stale):
            store.tag(ref, "alphadrop", "done")
        assert client.get_object_tagging(**store.place("x.jpg"))["TagSet"] == []

    def test_of_a_missing_object_raises_gone(self, store: S3Store) -> None:
        with pytest.raises(Gone):
            store.tag(ImageRef("x.jpg", "1", 1), "alphadrop", "done")


class TestMove:
    def test_keeps_everything_but_the_key(self, store: S3Store, bucket: str, client: Any) -> None:
        key = "a b/ü+%|日本.jpg"
        client.put_object(
            **store.place(key), Body=b"bytes", ContentType="image/jpeg", Metadata={"shot": "7"}, Tagging="team=shop"
        )
        ref = store.stat(key)
        assert ref is not None
        store.move(ref, "done/2026/")
        assert keys_in(bucket) == {f"done/2026/{key}"}
        moved = client.get_object(Bucket=bucket, Key=f"done/2026/{key}")
        assert (moved["Body"].read(), moved["ContentType"], moved["Metadata"]) == (
            b"bytes",
            "image/jpeg",
            {"shot": "7"},
        )
        assert client.get_object_tagging(Bucket=bucket, Key=f"done/2026/{key}")["TagSet"] != []

    def test_leaves_another_version_alone(self, store: S3Store, bucket: str) -> None:
        ref = written(store)
        written(store, data=b"other")
        with pytest.raises(Stale):
            store.move(ref, "done/")
        assert keys_in(bucket) == {"in/x.jpg"}

    def test_never_deletes_a_version_written_meanwhile(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        replaced_before(proxy, behind, "PUT")
        with pytest.raises(Stale):
            behind.move(ref, "done/")
        assert behind.read(ImageRef("x.jpg", "", 0)) == b"other"

    def test_copies_only_that_version(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        sent: list[dict[str, str]] = []

        def noted(method: str, headers: dict[str, str]) -> dict[str, str]:
            sent.append({name.lower(): value for name, value in headers.items()})
            return headers

        proxy.headers = noted
        behind.move(ref, "done/")
        (copy,) = [headers for headers in sent if "x-amz-copy-source" in headers]
        assert copy["x-amz-copy-source-if-match"] == f'"{ref.version}"'

    def test_is_stale_if_the_store_detects_another_version(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        proxy.instead = times(1, refusal(412, "PreconditionFailed"), "PUT")
        with pytest.raises(Stale):
            behind.move(ref, "done/")
        assert behind.stat("x.jpg") == ref

    def test_of_a_moved_object_raises_gone(self, store: S3Store) -> None:
        ref = written(store)
        store.move(ref, "done/")
        with pytest.raises(Gone):
            store.move(ref, "done/")

    def test_that_was_interrupted_can_be_repeated(self, store: S3Store, bucket: str, client: Any) -> None:
        ref = written(store)
        client.copy_object(Bucket=bucket, Key="done/x.jpg", CopySource=store.place("x.jpg"))
        store.move(ref, "done/")
        assert keys_in(bucket) == {"done/x.jpg"}


class TestDeleteVersion:
    def test_deletes_that_version(self, store: S3Store, bucket: str) -> None:
        store.delete_version(written(store))
        assert keys_in(bucket) == set()

    def test_of_a_missing_object_does_nothing(self, store: S3Store) -> None:
        store.delete_version(ImageRef("x.jpg", "1", 1))

    @pytest.mark.parametrize("conditions", [ConditionalWrites(), NO_CONDITIONAL_WRITES])
    def test_leaves_another_version_alone(self, bucket: str, conditions: ConditionalWrites) -> None:
        store = moto_server().store(f"s3://{bucket}", conditional_writes=conditions)
        ref = written(store)
        written(store, data=b"other")
        with pytest.raises(Stale):
            store.delete_version(ref)
        assert keys_in(bucket) == {"x.jpg"}

    def test_leaves_a_newer_version_if_the_store_detects_it(self, behind: S3Store, proxy: ScriptedProxy) -> None:
        ref = written(behind)
        replaced_before(proxy, behind, "DELETE")
        with pytest.raises(Stale):
            behind.delete_version(ref)
        assert behind.read(ImageRef("x.jpg", "", 0)) == b"other"

    def test_does_not_take_a_missing_bucket_for_a_missing_image(self) -> None:
        with pytest.raises(SourceMissing):
            moto_server().store("s3://nobody-has-this").delete_version(ImageRef("x.jpg", "1", 1))


def forgetful(method: str, headers: dict[str, str]) -> dict[str, str]:
    """A store that knows no conditions, and does not say so."""
    return {name: value for name, value in headers.items() if name not in ("If-Match", "If-None-Match")}


def like_ceph(method: str, headers: dict[str, str]) -> dict[str, str]:
    """A store for which an ETag in a put matches without the quotes that it gives it alone."""
    quoted = method == "PUT" and headers.get("If-Match", "").startswith('"')
    return headers | {"If-Match": '"other"'} if quoted else headers


def ignorant(only: str) -> Callable[[str, dict[str, str]], dict[str, str]]:
    """A store that ignores one condition."""
    return lambda method, headers: {name: value for name, value in headers.items() if name != only}


class TestProbe:
    @pytest.mark.parametrize(
        ("headers", "found"),
        [
            (lambda method, headers: headers, ConditionalWrites()),
            (forgetful, NO_CONDITIONAL_WRITES),
            (like_ceph, ConditionalWrites(True, "unquoted")),
            (ignorant("If-None-Match"), ConditionalWrites(False, "quoted")),
            (ignorant("If-Match"), ConditionalWrites(True, "")),
        ],
    )
    def test_finds_out_what_the_store_enforces(
        self, behind: S3Store, proxy: ScriptedProxy, bucket: str, headers: Any, found: ConditionalWrites
    ) -> None:
        proxy.headers = headers
        assert behind.probe_conditional_writes() == found
        assert keys_in(bucket) == set()

    @pytest.mark.parametrize("headers", [forgetful, like_ceph])
    def test_finds_conditions_that_puts_work_with(
        self, behind: S3Store, proxy: ScriptedProxy, proxy_client: Any, headers: Callable[..., dict[str, str]]
    ) -> None:
        proxy.headers = headers
        store = S3Store(behind.uri, proxy_client, conditional_writes=behind.probe_conditional_writes())
        store.put(an_output(version="1"), png_of(an_output(version="1")))
        store.put(an_output(version="2"), png_of(an_output(version="2")), store.output_info("x.png"))
        held = store.output_info("x.png")
        assert held is not None and held.id == an_output(version="2").id

    def test_does_without_conditions_that_are_refused(self, behind: S3Store, proxy: ScriptedProxy, bucket: str) -> None:
        seen = proxy.seen

        def conditional(method: str, headers: dict[str, str]) -> dict[str, str]:
            odd = method == "PUT" and {"If-Match", "If-None-Match"} & set(headers)
            seen.append("odd" if odd else "plain")
            return headers

        proxy.headers = conditional
        proxy.changed = lambda method, answer: refusal(501, "NotImplemented") if seen[-1] == "odd" else answer
        assert behind.probe_conditional_writes() == NO_CONDITIONAL_WRITES

    def test_logs_a_probe_that_may_not_be_deleted(
        self, behind: S3Store, proxy: ScriptedProxy, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[dict[str, str]] = []
        monkeypatch.setattr(s3.log, "warning", lambda event, **fields: told.append(fields), raising=False)
        proxy.instead = times(1, refusal(403, "AccessDenied"), "DELETE")
        assert behind.probe_conditional_writes() == ConditionalWrites()
        (left,) = keys_in(bucket)
        assert [f"in/{fields['key']}" for fields in told] == [left]
        assert left.startswith("in/_alphadrop/probe-")

    @pytest.mark.parametrize(("status", "code", "kind"), [(403, "AccessDenied", Denied), (503, "SlowDown", Throttled)])
    def test_that_fails_raises(
        self, behind: S3Store, proxy: ScriptedProxy, status: int, code: str, kind: type[Exception]
    ) -> None:
        proxy.instead = times(9, refusal(status, code), "PUT")
        with pytest.raises(kind, match="probing"):
            behind.probe_conditional_writes()

    def test_raises_if_outputs_cannot_be_stored_with_the_options(
        self, bucket: str, proxy: ScriptedProxy, proxy_client: Any
    ) -> None:
        store = S3Store(f"s3://{bucket}", proxy_client, PutOptions(acl="public-read"))
        proxy.instead = times(9, refusal(400, "AccessControlListNotSupported"), "PUT")
        with pytest.raises(Unavailable, match="AccessControlListNotSupported"):
            store.probe_conditional_writes()

    def test_of_a_missing_bucket_raises(self) -> None:
        with pytest.raises(Unavailable, match="does not exist"):
            moto_server().store("s3://nobody-has-this").probe_conditional_writes()

    def test_that_has_written_nothing_leaves_nothing_to_delete_by_hand(
        self, behind: S3Store, proxy: ScriptedProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logged: list[str] = []
        monkeypatch.setattr(s3.log, "warning", lambda event, **fields: logged.append(event), raising=False)
        proxy.instead = times(9, refusal(403, "AccessDenied"), "PUT", "DELETE")
        with pytest.raises(Denied):
            behind.probe_conditional_writes()
        assert not logged


class TestConfig:
    def test_without_a_probe_trusts_only_amazon(self, bucket: str) -> None:
        ours = open_store(f"s3://{bucket}", S3Config(AwsOptions(moto_server().endpoint)))
        ours.put(an_output(version="1"), png_of(an_output(version="1")), None)
        ours.put(an_output(version="2"), png_of(an_output(version="2")), None)  # nothing is enforced that was not tried
        amazons = open_store("s3://bucket", S3Config(AwsOptions(region="eu-central-1")))
        assert isinstance(amazons, S3Store)
        assert amazons._conditional_writes == ConditionalWrites()


class _With:
    """An object with some attributes of its own."""

    def __init__(self, real: Any, **own: Any) -> None:
        self._real, self._own = real, own

    def __getattr__(self, name: str) -> Any:
        return self._own.get(name) or getattr(self._real, name)
