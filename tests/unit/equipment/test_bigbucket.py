"""The huge bucket looks like one that was filled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.equipment.bigbucket import PICTURE, BigBucket, Contents, etag_of, key_of
from tests.unit.equipment.clients import connect, keys


def job_of(recipe: str, key: str, etag: str) -> Mapping[str, str]:
    return {"job": hashlib.sha256(f"{recipe}/{key}/{etag}".encode()).hexdigest()}


@pytest.fixture(scope="module")
def big() -> Iterator[BigBucket]:
    contents = Contents(3000, missing={5, 2999}, outdated={7}, metadata=partial(job_of, "recipe"))
    with BigBucket(contents) as bucket:
        yield bucket


@pytest.fixture
def lister(big: BigBucket) -> Iterator[Any]:
    with closing(connect(big.port)) as client:
        yield client


def test_is_listed_in_order_page_by_page(big: BigBucket, lister: Any) -> None:
    before = big.counts()

    found = keys(lister, big.bucket, Prefix="in/")

    assert found == sorted(found) == [key_of("in", number) for number in range(3000)]
    assert big.counts() - before == {"list": 3}


def test_lists_both_sides_without_a_prefix(big: BigBucket, lister: Any) -> None:
    found = keys(lister, big.bucket)

    assert found == sorted(found)
    assert len(found) == 3000 + 2998


def test_misses_what_is_missing(big: BigBucket, lister: Any) -> None:
    wanted = [key_of("out", number) for number in range(3000) if number not in (5, 2999)]

    assert keys(lister, big.bucket, Prefix="out/") == wanted
    with pytest.raises(ClientError, match="404"):
        lister.head_object(Bucket=big.bucket, Key=key_of("out", 5))


def test_begins_where_it_is_asked_to(big: BigBucket, lister: Any) -> None:
    page = lister.list_objects_v2(Bucket=big.bucket, Prefix="in/0001/", StartAfter=key_of("in", 1500), MaxKeys=2)

    assert [found["Key"] for found in page["Contents"]] == [key_of("in", 1501), key_of("in", 1502)]
    assert page["Prefix"] == "in/0001/" and page["IsTruncated"]
    assert keys(lister, big.bucket, Prefix="in/0001/") == [key_of("in", number) for number in range(1000, 2000)]
    assert keys(lister, big.bucket, Prefix="other/") == []


def test_an_outdated_output_is_older_than_its_picture_and_another_job(big: BigBucket, lister: Any) -> None:
    picture, old = (lister.head_object(Bucket=big.bucket, Key=key_of(side, 7)) for side in ("in", "out"))
    new = lister.head_object(Bucket=big.bucket, Key=key_of("out", 8))

    assert old["LastModified"] < picture["LastModified"] < new["LastModified"]
    assert old["Metadata"] != job_of("recipe", key_of("in", 7).removeprefix("in/"), etag_of("in", 7))
    assert new["Metadata"] == job_of("recipe", key_of("in", 8).removeprefix("in/"), etag_of("in", 8))


def test_a_page_and_a_look_agree(big: BigBucket, lister: Any) -> None:
    for side in ("in", "out"):
        listed = lister.list_objects_v2(Bucket=big.bucket, Prefix=f"{side}/", MaxKeys=1)["Contents"][0]
        seen = lister.head_object(Bucket=big.bucket, Key=listed["Key"])

        assert (seen["ETag"], seen["LastModified"], seen["ContentLength"]) == (
            listed["ETag"],
            listed["LastModified"],
            listed["Size"],
        )


def test_pictures_are_read_as_long_as_the_version_is_right(big: BigBucket, lister: Any) -> None:
    etag = etag_of("in", 3)

    right = lister.get_object(Bucket=big.bucket, Key=key_of("in", 3), IfMatch=etag)

    assert right["Body"].read() == PICTURE
    with pytest.raises(ClientError, match="PreconditionFailed"):
        lister.get_object(Bucket=big.bucket, Key=key_of("in", 4), IfMatch=etag)
    with pytest.raises(ClientError, match="NoSuchKey"):
        lister.get_object(Bucket=big.bucket, Key=key_of("in", 3000))


def test_takes_small_objects_beside_its_own(big: BigBucket, lister: Any) -> None:
    lister.put_object(Bucket=big.bucket, Key="out/_alphadrop/probe", Body=b"1", IfNoneMatch="*")

    with pytest.raises(ClientError, match="PreconditionFailed"):
        lister.put_object(Bucket=big.bucket, Key="out/_alphadrop/probe", Body=b"2", IfNoneMatch="*")
    assert lister.get_object(Bucket=big.bucket, Key="out/_alphadrop/probe")["Body"].read() == b"1"
    lister.delete_object(Bucket=big.bucket, Key="out/_alphadrop/probe")
    with pytest.raises(ClientError, match="404"):
        lister.head_object(Bucket=big.bucket, Key="out/_alphadrop/probe")
