"""Pictures dropped into a bucket, cut out by several workers: none is lost, none is wrong, whatever breaks."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.equipment.cluster import TOKEN, VISIBILITY, Cluster, new_sqs_queue, total
from tests.equipment.daemon import Daemon, colour, photo
from tests.equipment.faulty import FaultyHttp, FaultyTcp
from tests.equipment.moto import Moto, moto_server
from tests.equipment.producer import Plan, Producer
from tests.equipment.rabbit import Rabbit, queue_name
from tests.equipment.receiver import Receiver, receiving
from tests.equipment.refusals import DENIED
from tests.equipment.support import STUCK, wait_until
from watcher.core.jobs import DEATHS_TO_QUARANTINE

SHARE = 0.2
"""Of the requests to S3 and SQS that go wrong."""
BETWEEN_RESETS = 3.0
"""Seconds, on average, between two broken connections to RabbitMQ."""
SEED = 411

pytestmark = [pytest.mark.torture, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture
def moto() -> Moto:
    return moto_server()


@pytest.fixture
def clusters(tmp_path: Path, moto: Moto) -> Iterator[Callable[..., Cluster]]:
    """Makes a cluster, which is ended with the test."""
    with ExitStack() as stack:
        yield lambda queue, **options: stack.enter_context(Cluster(tmp_path, moto, queue, **options))


@pytest.fixture
def pictures(full_campaign: bool) -> int:
    return 1000 if full_campaign else 60


@pytest.fixture(params=["listing", "sqs", "amqp", "webhook"])
def arrangement(
    request: pytest.FixtureRequest, clusters: Callable[..., Cluster], moto: Moto
) -> tuple[str, Cluster, dict[str, Any]]:
    """How arrivals become known: a cluster whose `watch` is ready, and what the producer is to know of it."""
    kind = str(request.param)
    if kind in ("sqs", "webhook"):
        queue = new_sqs_queue(moto)
        cluster = clusters(f"sqs://{queue}")
    else:
        rabbit: Rabbit = request.getfixturevalue("rabbit")
        queue = queue_name()
        cluster = clusters(rabbit.url(queue=queue), rabbit=rabbit)
    options = {
        "listing": ("--rescan", "1"),
        "sqs": ("--events", "queue"),
        "amqp": ("--events", "queue"),
        "webhook": ("--events", "webhook"),
    }
    if kind == "sqs":
        cluster.sqs_events(queue)
    watch = cluster.watch(*options[kind])
    watch.wait_until_ready()
    told: dict[str, dict[str, Any]] = {
        "amqp": {"events": cluster.queue.partition("?")[0], "routing_key": queue},
        "webhook": {"events": f"http://127.0.0.1:{watch.port}/events", "token": TOKEN},
    }
    return kind, cluster, told.get(kind, {})


def test_every_picture_that_is_put_into_the_bucket_is_cut_out_once(
    arrangement: tuple[str, Cluster, dict[str, Any]], pictures: int, figures: Callable[[str], None]
) -> None:
    kind, cluster, told = arrangement
    workers = [cluster.work(), cluster.work()]
    for worker in workers:
        worker.wait_until_ready()
    started = time.monotonic()

    with Producer(Plan(cluster.moto.endpoint, cluster.bucket, pictures, cluster.listing, **told)) as producer:
        producer.wait()
    put = time.monotonic() - started
    cluster.wait_for_outputs(pictures)

    taken = time.monotonic() - started
    cluster.wait_until_idle()
    verdict = cluster.verdict()
    assert verdict.clean, str(verdict)
    assert verdict.good == pictures
    written = [total([worker], "alphadrop_images_processed_total", outcome="written") for worker in workers]
    assert sum(written) == pictures
    assert all(daemon.stop() == 0 for daemon in cluster.daemons)
    figures(
        f"{kind}: {pictures} pictures put in {put:.0f} s, all cut out by two workers ({written[0]} + {written[1]}) "
        f"after {taken:.0f} s; the judge: {verdict}"
    )


class Chaos:
    """Until it is to stop: a worker is killed, or all processes of one `work`, or one `work` is frozen and thawed."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.random = Random(seed)
        self.counts = {"worker killed": 0, "all killed": 0, "frozen": 0}
        self.works = [cluster.work(), cluster.work()]

    def strike(self) -> None:
        """Do one of the three, once somebody has something in flight, at any moment."""
        victim = self.random.randrange(len(self.works))
        work = self.works[victim]
        work.wait_until_ready()
        time.sleep(self.random.uniform(0.5, 3))
        deed = self.random.choice(sorted(self.counts))
        self.counts[deed] += 1
        if deed == "worker killed":
            for pid in work.workers():
                os.kill(pid, signal.SIGKILL)
        elif deed == "all killed":
            work.kill_group()
            self.works[victim] = self.cluster.work()
        else:
            self._freeze(work)

    def _freeze(self, work: Daemon) -> None:
        """For longer than its messages are its own: another worker gets them, and it does not know."""
        group = work.process.pid
        os.killpg(group, signal.SIGSTOP)
        time.sleep(VISIBILITY * 1.5)
        os.killpg(group, signal.SIGCONT)


def has_peace(cluster: Cluster, chaos: Chaos, pictures: int, strikes: int) -> None:
    """All strikes, while there is work; then peace until every picture has its output and nothing waits."""
    for _ in range(strikes):
        if cluster.outputs() < pictures:
            chaos.strike()
    cluster.wait_for_outputs(pictures)
    cluster.wait_until_idle()


@pytest.mark.parametrize("kind", ["sqs", "amqp"])
def test_with_faults_kills_duplicates_and_frozen_workers_nothing_is_lost_or_wrong(
    kind: str,
    request: pytest.FixtureRequest,
    clusters: Callable[..., Cluster],
    moto: Moto,
    full_campaign: bool,
    figures: Callable[[str], None],
) -> None:
    pictures, strikes = (1000, 25) if full_campaign else (80, 3)
    with FaultyHttp(moto.port, SEED, share=0) as s3, receiving() as receiver, ExitStack() as stack:
        receiver.answer = lambda message: 503 if len(receiver.requests) % 5 == 0 else 204
        broker: FaultyHttp | FaultyTcp
        if kind == "sqs":
            server = moto_server("sqs")
            broker = stack.enter_context(FaultyHttp(server.port, SEED, share=0))
            queue = f"sqs://{new_sqs_queue(server)}"
            cluster = clusters(queue, endpoint=s3.url, sqs=broker.url, sqs_server=server, notify=receiver.url)
        else:
            rabbit: Rabbit = request.getfixturevalue("rabbit")
            broker = stack.enter_context(FaultyTcp(rabbit.port, SEED, share=0))
            address = f"amqp://guest:guest@127.0.0.1:{broker.port}/?queue={queue_name()}"
            cluster = clusters(address, endpoint=s3.url, rabbit=rabbit, notify=receiver.url)
        watch = cluster.watch("--events", "webhook", "--rescan", "20")
        chaos = Chaos(cluster, SEED)
        for daemon in (watch, *chaos.works):
            daemon.wait_until_ready()
        s3.share = SHARE
        broker.share = SHARE
        if isinstance(broker, FaultyTcp):
            broker.between_resets = BETWEEN_RESETS
        started = time.monotonic()

        hook = f"http://127.0.0.1:{watch.port}/events"
        plan = Plan(
            moto.endpoint,
            cluster.bucket,
            pictures,
            cluster.listing,
            events=hook,
            token=TOKEN,
            twice=True,
            shuffled=30,
        )
        with Producer(plan) as producer:
            has_peace(cluster, chaos, pictures, strikes)
            producer.wait()
            cluster.wait_until_idle()
        wait_for_notifications(receiver, cluster)
        verdict = cluster.verdict()

    taken = time.monotonic() - started
    assert verdict.clean, str(verdict)
    assert verdict.good == pictures
    assert receiver.unsigned == 0
    assert cluster.dead_letters() == 0
    assert sum(s3.counts.values()) > pictures / 2 and sum(broker.counts.values()) > 0
    figures(
        f"{kind} under fire: {pictures} pictures after {taken:.0f} s; {sum(s3.counts.values())} faults of S3, "
        f"{sum(broker.counts.values())} of the broker, {len(receiver.accepted)} notifications, "
        + ", ".join(f"{number} x {deed}" for deed, number in chaos.counts.items())
        + f"; the judge: {verdict}"
    )


def wait_for_notifications(receiver: Receiver, cluster: Cluster) -> None:
    """Until there is one for each picture that was put; none may be about anything else."""
    wanted = {json.loads(line)["key"] for line in cluster.listing.read_text("utf-8").splitlines()}

    def arrived() -> set[str]:
        return {message["key"] for message in receiver.accepted if message["type"] == "image.done"}

    wait_until(lambda: arrived() >= wanted, STUCK, "not every picture has its notification")
    assert arrived() == wanted and len({message["type"] for message in receiver.accepted}) == 1


@pytest.mark.parametrize("kind", ["sqs", "quorum queue", "classic queue"])
def test_the_picture_that_kills_its_workers_is_rejected_and_no_other(
    kind: str,
    request: pytest.FixtureRequest,
    clusters: Callable[..., Cluster],
    moto: Moto,
    figures: Callable[[str], None],
) -> None:
    if kind == "sqs":
        cluster = clusters(f"sqs://{new_sqs_queue(moto)}")
    else:
        rabbit: Rabbit = request.getfixturevalue("rabbit")
        queue = queue_name()
        cluster = clusters(rabbit.url(queue=queue), rabbit=rabbit)
        if kind == "classic queue":
            with rabbit.connect() as connection:
                connection.channel().queue_declare(queue, durable=True)
    with Producer(Plan(moto.endpoint, cluster.bucket, 12, cluster.listing)) as producer:
        producer.wait()
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/poison.jpg", Body=photo(colour(99)))
    # Only now: there are no events, and the next listing after the first is an hour away.
    watch, work = cluster.watch("--rescan", "3600"), cluster.work(ALPHADROP_TEST_HOOK="kill:poison")
    for daemon in (watch, work):
        daemon.wait_until_ready()

    cluster.wait_for_outputs(12)
    work.until(lambda: work.metric("alphadrop_images_processed_total", outcome="rejected"), "it is not rejected")
    cluster.wait_until_idle()

    verdict = cluster.verdict()
    assert (verdict.good, verdict.missing, verdict.wrong) == (12, [], [])
    assert verdict.surplus == ["_failed/poison.jpg.json"]
    record = json.loads(
        cluster.client.get_object(Bucket=cluster.bucket, Key="out/_failed/poison.jpg.json")["Body"].read()
    )
    assert (record["key"], record["reason"]) == ("poison.jpg", "kills_worker")
    assert cluster.dead_letters() == 0
    assert work.metric("alphadrop_images_processed_total", outcome="rejected") == 1
    deaths = len(work.events("worker_died"))
    assert deaths == DEATHS_TO_QUARANTINE + 1, "once in company, then alone"
    figures(f"poisoned picture, {kind}: rejected after {deaths} deaths; the judge: 12 good")


def test_a_broker_that_restarts_is_waited_for(
    rabbit: Rabbit, clusters: Callable[..., Cluster], pictures: int, figures: Callable[[str], None]
) -> None:
    queue = queue_name()
    cluster = clusters(rabbit.url(queue=queue), model="fake:delay=0.05", rabbit=rabbit)
    watch, work = cluster.watch("--rescan", "2"), cluster.work()
    for daemon in (watch, work):
        daemon.wait_until_ready()
    with Producer(Plan(cluster.moto.endpoint, cluster.bucket, pictures, cluster.listing)) as producer:
        cluster.wait_for_outputs(pictures // 4)
        stopped = time.monotonic()
        rabbit.stop()
        for daemon in (watch, work):
            daemon.until(lambda daemon=daemon: "queue" in daemon.unready(), "nobody missed the broker")  # type: ignore[misc]
        rabbit.start()
        down = time.monotonic() - stopped
        producer.wait()
        cluster.wait_for_outputs(pictures)
        cluster.wait_until_idle()
    for daemon in (watch, work):
        daemon.wait_until_ready()
    verdict = cluster.verdict()
    assert verdict.clean, str(verdict)
    figures(f"RabbitMQ restarted: {down:.0f} s without it, {pictures} pictures; the judge: {verdict}")


def test_a_bucket_that_denies_access_is_waited_for(
    moto: Moto, clusters: Callable[..., Cluster], pictures: int, full_campaign: bool, figures: Callable[[str], None]
) -> None:
    seconds = 30.0 if full_campaign else 5.0
    with FaultyHttp(moto.port, SEED, share=0) as s3:
        cluster = clusters(f"sqs://{new_sqs_queue(moto)}", endpoint=s3.url, model="fake:delay=0.05")
        watch, work = cluster.watch("--rescan", "2"), cluster.work()
        for daemon in (watch, work):
            daemon.wait_until_ready()
        with Producer(Plan(moto.endpoint, cluster.bucket, pictures, cluster.listing)) as producer:
            cluster.wait_for_outputs(pictures // 4)
            denied = time.monotonic()
            s3.refuse_all = DENIED
            watch.until(lambda: "source" in watch.unready(), "watch did not notice that it may not list")
            refused = "(403)"  # a refused HEAD has no other word for it
            work.until(lambda: refused in work.unready().get("images", ""), "work did not notice that it may not read")
            wait_until(lambda: time.monotonic() - denied > seconds, STUCK)
            s3.refuse_all = None
            producer.wait()
            cluster.wait_for_outputs(pictures)
            cluster.wait_until_idle()
        for daemon in (watch, work):
            daemon.wait_until_ready()
        assert work.metric("alphadrop_failures_total", reason="denied") > 0
        assert work.metric("alphadrop_images_processed_total", outcome="rejected") == 0
        verdict = cluster.verdict()
    assert verdict.clean, str(verdict)
    figures(f"bucket denied for {seconds:.0f} s: {pictures} pictures; the judge: {verdict}")
