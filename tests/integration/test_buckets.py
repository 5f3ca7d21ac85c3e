"""The daemon on buckets: what is overwritten, deleted, rejected, tagged or moved, and folders mixed in."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.equipment.cluster import Buckets, Cluster, new_sqs_queue
from tests.equipment.daemon import Daemon, Folders, colour, coloured, photo
from tests.equipment.daemon import shows as shows_file
from tests.equipment.faulty import FaultyHttp
from tests.equipment.judge import shows
from tests.equipment.moto import Moto, moto_server
from tests.equipment.refusals import EXPIRED, MISSING
from tests.equipment.support import STUCK, alphadrop, wait_until

SLOW = "fake:delay=1.0"
"""Long enough in flight to be overwritten meanwhile."""
NEVER = ("--rescan", "3600")
SOON = 60
"""Seconds in which a daemon ends that has nothing in flight, whatever it waits for."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def moto() -> Moto:
    return moto_server()


@pytest.fixture
def cluster(tmp_path: Path, moto: Moto) -> Iterator[Cluster]:
    """A bucket and an SQS queue that it tells of new objects."""
    queue = new_sqs_queue(moto)
    with Cluster(tmp_path, moto, f"sqs://{queue}") as cluster:
        cluster.sqs_events(queue)
        yield cluster


def put(cluster: Cluster, key: str, number: int) -> None:
    cluster.client.put_object(Bucket=cluster.bucket, Key=key, Body=photo(colour(number)))


def content(cluster: Cluster, key: str) -> bytes:
    """The bytes of an object, b"" where there is none."""
    try:
        data: bytes = cluster.client.get_object(Bucket=cluster.bucket, Key=key)["Body"].read()
    except cluster.client.exceptions.NoSuchKey:
        return b""
    return data


def keys(cluster: Cluster, prefix: str = "") -> set[str]:
    found = cluster.client.list_objects_v2(Bucket=cluster.bucket, Prefix=prefix).get("Contents", ())
    return {entry["Key"] for entry in found if "/_alphadrop/" not in entry["Key"]}


def wait_for(cluster: Cluster, key: str, number: int) -> None:
    """Until an output shows the picture of that number."""
    wait_until(lambda: shows(content(cluster, key), colour(number)), STUCK, f"{key} never came", pause=0.1)


def in_flight(work: Daemon) -> float:
    """How many images it says it works on."""
    return work.metric("alphadrop_worker_images_in_flight")


def apart(top: Path, places: tuple[str, str]) -> Buckets:
    """The same places for another daemon, whose log is its own."""
    top.mkdir()
    return Buckets(top, places)


def local(cluster: Cluster, top: Path, *options: str, command: str = "run", model: str = "fake") -> Daemon:
    """A daemon with a queue of its own on the cluster's bucket."""
    top.mkdir()
    places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out")
    return Daemon(Buckets(top, places), *options, command=command, model=model, **cluster.moto.variables)


def cut_out(cluster: Cluster, *options: object, cwd: Path) -> int:
    """`once` from the bucket to the bucket; the exit code."""
    places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out")
    usual = ("--model", "fake", "--devices", "cpu", "--state", cwd / "state")
    return alphadrop("once", *places, *usual, *options, cwd=cwd, **cluster.moto.variables).code


# Overwritten and deleted.


def test_what_is_overwritten_while_it_is_in_work_ends_as_its_newest_version(cluster: Cluster) -> None:
    cluster.model = SLOW
    work = cluster.work()
    work.wait_until_ready()
    put(cluster, "in/a b+c.png", 1)
    work.until(lambda: in_flight(work), "nothing in flight")
    put(cluster, "in/a b+c.png", 2)
    wait_for(cluster, "out/a b+c.png", 2)
    cluster.wait_until_idle()
    assert shows(content(cluster, "out/a b+c.png"), colour(2))
    assert keys(cluster, "out/") == {"out/a b+c.png"}


def test_a_frozen_worker_does_not_bring_an_old_version_back(cluster: Cluster) -> None:
    cluster.model = "fake:delay=4"  # frozen long before its end, though heartbeats tell of it up to a second late
    works = [cluster.work(), cluster.work()]
    for work in works:
        work.wait_until_ready()
    put(cluster, "in/a.png", 1)
    works[0].until(lambda: any(map(in_flight, works)), "nothing in flight")
    first, second = sorted(works, key=in_flight, reverse=True)
    os.killpg(first.process.pid, signal.SIGSTOP)
    put(cluster, "in/a.png", 2)
    wait_for(cluster, "out/a.png", 2)
    os.killpg(first.process.pid, signal.SIGCONT)
    first.until(lambda: first.outcomes("a.png"), "the thawed worker never came to an end")
    assert first.outcomes("a.png")[0] in ("stale", "already_done")
    cluster.wait_until_idle()
    assert shows(content(cluster, "out/a.png"), colour(2))
    assert "written" in second.outcomes("a.png")


def test_an_old_event_that_comes_late_does_no_harm(cluster: Cluster) -> None:
    put(cluster, "in/a.png", 1)
    old = cluster.take_messages()
    put(cluster, "in/a.png", 2)
    cluster.work()
    wait_for(cluster, "out/a.png", 2)
    cluster.wait_until_idle()
    for body in old:
        cluster.send_message(body)
    cluster.wait_until_idle()
    assert shows(content(cluster, "out/a.png"), colour(2))


def test_a_late_event_alone_is_enough_to_find_the_newest_version(cluster: Cluster) -> None:
    put(cluster, "in/a.png", 1)
    old = cluster.take_messages()
    put(cluster, "in/a.png", 2)
    assert len(cluster.take_messages()) == 1  # the newer event is lost
    for body in old:
        cluster.send_message(body)
    cluster.work()
    wait_for(cluster, "out/a.png", 2)


def test_what_is_deleted_before_it_is_read_is_gone(cluster: Cluster) -> None:
    put(cluster, "in/a.png", 1)
    cluster.client.delete_object(Bucket=cluster.bucket, Key="in/a.png")
    work = cluster.work()
    work.until(lambda: work.outcomes("a.png"), "nobody looked for it")
    assert work.outcomes("a.png") == ["gone"]
    cluster.wait_until_idle()
    assert keys(cluster) == set()


def test_a_message_that_is_no_event_goes_to_the_dead_letters_and_nobody_dies(cluster: Cluster) -> None:
    cluster.send_message("Dear all, please find the photos attached.")
    put(cluster, "in/a.png", 1)
    work = cluster.work()
    wait_for(cluster, "out/a.png", 1)
    cluster.wait_until_idle()
    assert cluster.dead_letters() == 1
    assert work.metric("alphadrop_event_messages_total", result="invalid") == 1
    assert [event["level"] for event in work.events("message_dead_lettered")] == ["warning"]


def test_metrics_that_a_broker_cannot_know_are_absent(cluster: Cluster) -> None:
    work = cluster.work()
    work.until(lambda: 'alphadrop_queue_images{state="pending"}' in work.get("/metrics")[1], "no one asked the queue")
    names = {line.partition(" ")[0].partition("{")[0] for line in work.get("/metrics")[1].splitlines()}
    assert {"alphadrop_queue_images", "alphadrop_sink_conditional_writes"} <= names
    unknown = {"oldest_pending_timestamp_seconds", "pending_bytes", "crash_suspect_images", "finished_images"}
    absent = {f"alphadrop_queue_{name}" for name in unknown} | {"alphadrop_quarantined_images"}
    assert names & (absent | {"alphadrop_source_healthy"}) == set()


# Rejected.


def test_in_the_distributed_mode_the_error_record_is_all_that_is_kept_and_retry_goes_by_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/bad one.png", Body=b"Dear all")
    first = cluster.work()
    record = "out/_failed/bad one.png.json"
    wait_until(lambda: record in keys(cluster), STUCK, pause=0.1)
    cluster.wait_until_idle()
    assert json.loads(content(cluster, record))["reason"] == "not_a_picture"
    places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out", "--queue", cluster.queue)
    status = alphadrop("status", *places, cwd=tmp_path, **cluster.moto.variables)
    assert "bad one.png: not_a_picture" in status.out
    assert first.stop() == 0
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/bad one.png", Body=photo(colour(3)))
    cluster.take_messages()  # so that retry alone brings it back
    assert alphadrop("retry", *places, cwd=tmp_path, **cluster.moto.variables).out == "bad one.png\n"
    cluster.work()
    wait_for(cluster, "out/bad one.png", 3)
    cluster.wait_until_idle()
    assert keys(cluster, "out/") == {"out/bad one.png"}


def test_once_says_what_stands_rejected_even_when_its_queue_was_lost(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/bad.png", Body=b"Dear all")
    put(cluster, "in/good.png", 1)
    assert cut_out(cluster, cwd=tmp_path) == 3
    assert cut_out(cluster, "--state", "another", cwd=tmp_path) == 3
    assert shows(content(cluster, "out/good.png"), colour(1))


# After success.


@pytest.mark.parametrize(
    ("after", "left"), [("keep", {"in/a.png"}), ("delete", set()), ("move:done", {"done/a.png"}), ("tag", {"in/a.png"})]
)
def test_after_success_the_image_is_where_it_was_asked_to_be(
    cluster: Cluster, tmp_path: Path, after: str, left: set[str]
) -> None:
    put(cluster, "in/a.png", 1)
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/bad.png", Body=b"Dear all")
    assert cut_out(cluster, "--after", after, cwd=tmp_path) == 3
    assert shows(content(cluster, "out/a.png"), colour(1))
    assert keys(cluster) - keys(cluster, "out/") == left | {"in/bad.png"}
    if after == "tag":
        tags = cluster.client.get_object_tagging(Bucket=cluster.bucket, Key="in/a.png")["TagSet"]
        assert tags == [{"Key": "alphadrop", "Value": "done"}]
    assert cut_out(cluster, "--after", after, cwd=tmp_path) == 3


# One machine, and folders mixed in.


def test_run_hears_of_objects_through_a_queue_of_events(cluster: Cluster, tmp_path: Path) -> None:
    with local(cluster, tmp_path / "run", "--events", cluster.queue, *NEVER) as daemon:
        daemon.wait_until_ready()
        daemon.until(lambda: daemon.metric("alphadrop_reconcile_runs_total", result="ok"), "the first pass never ended")
        put(cluster, "in/a.png", 1)
        wait_for(cluster, "out/a.png", 1)
        said = cluster.client.head_object(Bucket=cluster.bucket, Key="out/a.png")["Metadata"]
        assert 0.1 < float(said["alphadrop-matte-coverage"]) < 0.9
        assert daemon.metric("alphadrop_images_discovered_total", via="event") == 1
        assert daemon.stop() == 0


def test_run_finds_by_listing_what_no_event_told_and_what_went_missing(cluster: Cluster, tmp_path: Path) -> None:
    with local(cluster, tmp_path / "run", "--rescan", "0.5") as daemon:
        daemon.wait_until_ready()
        put(cluster, "in/a.png", 1)
        wait_for(cluster, "out/a.png", 1)
        cluster.client.delete_object(Bucket=cluster.bucket, Key="out/a.png")
        wait_for(cluster, "out/a.png", 1)
        put(cluster, "in/a.png", 2)
        wait_for(cluster, "out/a.png", 2)


def test_another_option_makes_every_output_anew_and_only_then(cluster: Cluster, tmp_path: Path) -> None:
    for number in range(4):
        put(cluster, f"in/{number}.png", number)
    places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out", "--model", "fake", "--devices", "cpu")
    variables = cluster.moto.variables

    def outcomes(*options: str, state: str) -> dict[str, str]:
        return alphadrop("once", *places, "--state", tmp_path / state, *options, cwd=tmp_path, **variables).outcomes

    assert set(outcomes(state="1").values()) == {"written"}
    assert outcomes(state="2") == {}
    assert set(outcomes("--png-level", "2", state="3").values()) == {"written"}
    assert outcomes("--png-level", "2", state="4") == {}


def test_a_folder_into_a_bucket_and_a_bucket_into_a_folder(cluster: Cluster, tmp_path: Path) -> None:
    folders = Folders.below(tmp_path / "mixed")
    coloured(folders.source / "a/x.png", colour(5))
    usual = ("--model", "fake", "--devices", "cpu", "--settle", "0", "--state")
    variables, middle = cluster.moto.variables, f"s3://{cluster.bucket}/middle"
    up = alphadrop("once", folders.source, middle, *usual, tmp_path / "s1", cwd=tmp_path, **variables)
    assert (up.code, up.outcomes) == (0, {"a/x.png": "written"})
    assert shows(content(cluster, "middle/a/x.png"), colour(5))
    put(cluster, "in/a/y.png", 6)
    source = f"s3://{cluster.bucket}/in"
    down = alphadrop("once", source, folders.sink, *usual, tmp_path / "s2", cwd=tmp_path, **variables)
    assert (down.code, down.outcomes) == (0, {"a/y.png": "written"})
    assert shows_file(folders.sink / "a/y.png", colour(6))
    assert alphadrop("once", source, folders.sink, *usual, tmp_path / "s3", cwd=tmp_path, **variables).outcomes == {}


def test_what_is_rejected_into_a_folder_is_not_sent_to_the_workers_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.put_object(Bucket=cluster.bucket, Key="in/bad.png", Body=b"Dear all")
    cluster.take_messages()
    folders = Folders.below(tmp_path / "sink")
    places, queue = (f"s3://{cluster.bucket}/in", str(folders.sink)), ("--queue", cluster.queue)
    variables = cluster.moto.variables
    with (
        Daemon(apart(tmp_path / "watch", places), *queue, "--rescan", "2", command="watch", **variables) as watch,
        Daemon(apart(tmp_path / "work", places), *queue, command="work", **variables) as work,
    ):
        work.until(lambda: work.outcomes("bad.png"), "nobody looked at it")
        before = watch.metric("alphadrop_reconcile_runs_total", result="ok")
        watch.until(lambda: watch.metric("alphadrop_reconcile_runs_total", result="ok") > before + 1, "no passes")
        assert watch.metric("alphadrop_source_healthy") == 1
        assert work.outcomes("bad.png") == ["rejected"]


def test_a_folder_that_is_watched_for_workers_elsewhere(cluster: Cluster, tmp_path: Path) -> None:
    folders = Folders.below(tmp_path / "share")
    coloured(folders.source / "a.png", colour(7))
    queue = ("--queue", cluster.queue, "--settle", "0")
    variables = cluster.moto.variables
    with (
        Daemon(apart(tmp_path / "watch", folders.places), *queue, command="watch", **variables) as watch,
        Daemon(apart(tmp_path / "work", folders.places), *queue, command="work", **variables) as work,
    ):
        for daemon in (watch, work):
            daemon.wait_until_ready()
        coloured(folders.source / "b.png", colour(8))
        watch.until(lambda: folders.outputs() == {"a.png", "b.png"}, "not all was cut out")
        assert shows_file(folders.sink / "a.png", colour(7)) and shows_file(folders.sink / "b.png", colour(8))
        assert watch.stop() == work.stop() == 0


# Trouble at the start.


@pytest.mark.parametrize(
    ("refusal", "words"), [(MISSING, "does not exist"), (EXPIRED, "renew the credentials")], ids=["missing", "expired"]
)
def test_a_daemon_waits_for_a_bucket_it_cannot_use_and_once_says_why(
    cluster: Cluster, tmp_path: Path, refusal: object, words: str
) -> None:
    with FaultyHttp(cluster.moto.port, share=0) as s3:
        s3.refuse_all = refusal  # type: ignore[assignment]
        cluster.endpoint = s3.url
        watch, work = cluster.watch(*NEVER), cluster.work()
        for daemon in (watch, work):
            daemon.until(lambda daemon=daemon: words in str(daemon.unready()), "nobody said what is wrong")  # type: ignore[misc]
        tried = alphadrop(
            "once",
            f"s3://{cluster.bucket}/in",
            f"s3://{cluster.bucket}/out",
            "--state",
            tmp_path / "state",
            cwd=tmp_path,
            **cluster.moto.variables | {"AWS_ENDPOINT_URL": s3.url},
        )
        assert tried.code == 4 and words in tried.err
        s3.refuse_all = None
        for daemon in (watch, work):
            daemon.wait_until_ready()
        put(cluster, "in/a.png", 1)
        wait_for(cluster, "out/a.png", 1)


def test_a_daemon_that_waits_for_its_bucket_can_be_stopped(cluster: Cluster) -> None:
    with FaultyHttp(cluster.moto.port, share=0) as s3:
        s3.refuse_all = MISSING
        cluster.endpoint = s3.url
        for daemon in (cluster.watch(), cluster.work()):
            daemon.until(daemon.unready, "it never said anything")
            assert daemon.stop() == 0


def test_a_service_that_hangs_keeps_nobody_from_living_and_stopping(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        cluster.endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for daemon in (cluster.watch(), cluster.work()):
            assert daemon.get("/livez")[0] == 200
            assert daemon.get("/readyz")[0] == 503
            daemon.signal(signal.SIGTERM)
            assert daemon.process.wait(SOON) == 0


def test_a_queue_that_is_not_there_is_a_matter_of_configuration(cluster: Cluster, tmp_path: Path) -> None:
    places = (f"s3://{cluster.bucket}/in", f"s3://{cluster.bucket}/out")
    for command in ("watch", "work"):
        tried = alphadrop(
            command, *places, "--queue", "sqs://none", "--http", "off", cwd=tmp_path, **cluster.moto.variables
        )
        assert tried.code == 2 and "none" in tried.err
        bare = alphadrop(command, *places, cwd=tmp_path, **cluster.moto.variables)
        assert bare.code == 2 and "--queue" in bare.err
