"""What joins the halves travels as JSON and comes back the same."""

from __future__ import annotations

import json
from dataclasses import replace

from watcher.aws.clients import AwsOptions
from watcher.core.jobs import ImageRef, Recipe
from watcher.stores import ConditionalWrites, PutOptions, S3Config
from watcher.wiring import Links

RECIPE = Recipe("s3://box/in/", "digest", {"canvas": 320, "pipeline": 1}, "{dir}{name}.png")
AWS = AwsOptions("http://minio:9000", "here", "me", True)
LINKS = Links(
    "s3://box/in/",
    "s3://box/out/",
    "amqp://me:secret@rabbit/?queue=q",
    RECIPE,
    S3Config(AWS),
    S3Config(AWS, PutOptions(tags="a=b"), ConditionalWrites(True, "unquoted")),
    AwsOptions(region="here"),
    30.0,
    ("done/",),
)


def there_and_back(links: Links) -> Links:
    return Links.from_dict(json.loads(json.dumps(links.to_dict())))


def test_links_come_back_as_they_were() -> None:
    for links in (LINKS, replace(LINKS, queue="sqlite:///q", sink="file:///out", exclude=())):
        assert there_and_back(links) == links


def test_a_worker_computes_the_same_jobs() -> None:
    ref = ImageRef("a b.jpg", "etag", 5)
    assert there_and_back(LINKS).recipe.job(ref) == RECIPE.job(ref)


def test_a_sink_has_conditional_writes_only_if_the_probe_found_both_conditions_enforced() -> None:
    assert LINKS.sink_has_conditional_writes
    for conditions in (None, ConditionalWrites(False, "quoted"), ConditionalWrites(True, "")):
        assert not replace(LINKS, sink_s3=S3Config(AWS, conditional_writes=conditions)).sink_has_conditional_writes
    assert not replace(LINKS, sink="file:///out").sink_has_conditional_writes


def test_there_are_connections_for_all_threads_and_never_fewer_than_before() -> None:
    wide, narrow = LINKS.for_threads(40), LINKS.for_threads(2)
    assert {wide.source_s3.aws.connections, wide.sink_s3.aws.connections, wide.sqs.connections} == {40}
    assert narrow == LINKS
