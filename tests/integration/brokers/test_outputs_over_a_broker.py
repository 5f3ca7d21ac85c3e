"""Several outputs in a bucket over a real RabbitMQ: no message is acknowledged before all of them are durable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.equipment.cluster import Cluster
from tests.equipment.moto import moto_server
from tests.equipment.producer import Plan, produce
from tests.equipment.rabbit import Rabbit, queue_name
from tests.equipment.support import STUCK, wait_until

OUTPUTS = ("--preset", "cutout", "--output", "webp,lossless", "--output", "tiff")
PATTERNS = ("{stem}.png", "webp/{stem}.webp", "tiff/{stem}.tif")
PICTURES = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_after_a_kill_between_two_puts_and_after_a_deletion_only_what_is_missing_is_made(
    rabbit: Rabbit, tmp_path: Path
) -> None:
    with Cluster(tmp_path, moto_server(), rabbit.url(queue=queue_name()), rabbit=rabbit) as cluster:
        cluster.client.put_bucket_versioning(
            Bucket=cluster.bucket, VersioningConfiguration={"Status": "Enabled"}
        )  # so that a second put of the same bytes is seen
        produce(Plan(cluster.moto.endpoint, cluster.bucket, PICTURES, cluster.listing))
        cluster.watch("--rescan", "1", *OUTPUTS).wait_until_ready()

        killed = cluster.work(*OUTPUTS, ALPHADROP_TEST_HOOK="kill-put:webp/")
        killed.until(lambda: killed.events("worker_died"), "no worker was killed between two puts")
        killed.kill_group()
        half = cluster.verdict(*PATTERNS)
        assert half.good and len(half.missing) >= 2 * half.good and not half.wrong, str(half)
        wait_until(cluster.waiting, STUCK, "a message was acknowledged before all outputs were durable")

        work = cluster.work(*OUTPUTS)
        work.until(lambda: len(work.written()) == PICTURES, "not all outputs were made")
        cluster.wait_until_idle()
        verdict = cluster.verdict(*PATTERNS)
        assert verdict.clean and verdict.good == PICTURES * len(PATTERNS), str(verdict)
        assert set(puts(cluster).values()) == {1}, "what was there was made again"

        (gone, *_) = [key for key in puts(cluster) if key.startswith("out/webp/")]
        cluster.client.delete_object(Bucket=cluster.bucket, Key=gone)
        assert cluster.verdict(*PATTERNS).missing == [gone.removeprefix("out/")]
        late = "the listing does not find a second output that is missing"
        work.until(lambda: work.written().total() > PICTURES, late)
        assert cluster.verdict(*PATTERNS).clean
        assert {key for key, count in puts(cluster).items() if count > 1} == {gone}
        assert all(daemon.stop() == 0 for daemon in cluster.daemons if daemon is not killed)


def puts(cluster: Cluster) -> Counter[str]:
    """How often each output was put."""
    versions = cluster.client.list_object_versions(Bucket=cluster.bucket, Prefix="out/")["Versions"]
    return Counter(version["Key"] for version in versions if "_alphadrop/" not in version["Key"])
