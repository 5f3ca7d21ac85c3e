"""The proxy for HTTP does to requests what it says, and counts it."""

from __future__ import annotations

import io
import socket
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from tests.equipment.faulty import Fault, FaultyHttp
from tests.equipment.refusals import DENIED, EXPIRED, MISSING, THROTTLED, Refusal
from tests.equipment.support import wait_until
from tests.unit.equipment.clients import connect, keys

BYTES = bytes(range(256)) * 40


@pytest.fixture
def proxy(moto: int) -> Iterator[FaultyHttp]:
    with FaultyHttp(moto, seed=7, share=0) as proxy:
        yield proxy


@pytest.fixture
def once(proxy: FaultyHttp) -> Iterator[Any]:
    """A client behind the proxy that never tries again."""
    with closing(connect(proxy.port, attempts=1)) as client:
        yield client


class Stream(io.BytesIO):
    """Bytes that can be read once only, so that they are sent as they come."""

    def seekable(self) -> bool:
        return False


def only(*faults: Fault) -> dict[Fault, float]:
    return dict.fromkeys(faults, 1.0)


def test_changes_nothing_as_long_as_nothing_is_to_happen(proxy: FaultyHttp, once: Any, bucket: str) -> None:
    metadata = {"source": "a%20b", "job": "0" * 64}
    once.put_object(Bucket=bucket, Key="a +/ü|%.png", Body=BYTES, Metadata=metadata)
    found = once.get_object(Bucket=bucket, Key="a +/ü|%.png")

    assert found["Body"].read() == BYTES
    assert found["Metadata"] == metadata
    assert once.head_object(Bucket=bucket, Key="a +/ü|%.png")["ContentLength"] == len(BYTES)
    assert keys(once, bucket) == ["a +/ü|%.png"]
    assert proxy.counts == {"passed": 4}


def test_carries_chunked_bodies_with_a_checksum_behind_them(once: Any, bucket: str, behind: Any) -> None:
    once.upload_fileobj(io.BytesIO(BYTES), bucket, "whole", ExtraArgs={"ChecksumAlgorithm": "SHA256"})
    once.put_object(Bucket=bucket, Key="stream", Body=Stream(BYTES), ContentLength=len(BYTES))

    assert [behind.get_object(Bucket=bucket, Key=key)["Body"].read() for key in ("whole", "stream")] == [BYTES] * 2


def test_unpacks_what_comes_in_chunks(proxy: FaultyHttp, bucket: str, behind: Any) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as raw:
        raw.sendall(
            f"PUT /{bucket}/chunks HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: AWS test:x\r\n"
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")

    assert behind.get_object(Bucket=bucket, Key="chunks")["Body"].read() == b"hello world"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(Fault.SLOW_DOWN, 503, "SlowDown"), (Fault.ERROR, 500, "InternalError")],
)
def test_answers_with_an_error_and_forwards_nothing(
    proxy: FaultyHttp, once: Any, bucket: str, behind: Any, fault: Fault, status: int, code: str
) -> None:
    proxy.share, proxy.weights = 1, only(fault)

    with pytest.raises(ClientError) as caught:
        once.put_object(Bucket=bucket, Key="k", Body=BYTES)

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Code"] == code
    assert keys(behind, bucket) == []
    assert proxy.counts == {fault: 1}


def test_a_reset_request_has_not_happened(proxy: FaultyHttp, once: Any, bucket: str, behind: Any) -> None:
    proxy.share, proxy.weights = 1, only(Fault.RESET)

    with pytest.raises(ConnectionClosedError, match="closed"):
        once.put_object(Bucket=bucket, Key="k", Body=BYTES)

    assert keys(behind, bucket) == []
    assert proxy.counts == {Fault.RESET: 1}


def test_a_lost_request_has_happened(proxy: FaultyHttp, once: Any, bucket: str, behind: Any) -> None:
    proxy.share, proxy.weights = 1, only(Fault.LOST)

    with pytest.raises(ConnectionClosedError):
        once.put_object(Bucket=bucket, Key="k", Body=BYTES)

    assert behind.get_object(Bucket=bucket, Key="k")["Body"].read() == BYTES
    assert proxy.counts == {Fault.LOST: 1}


def test_a_reset_is_no_polite_end(proxy: FaultyHttp) -> None:
    proxy.share, proxy.weights = 1, only(Fault.LOST)

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_a_truncated_answer_is_noticed(proxy: FaultyHttp, once: Any, bucket: str, behind: Any) -> None:
    behind.put_object(Bucket=bucket, Key="k", Body=BYTES)
    proxy.share, proxy.weights = 1, only(Fault.TRUNCATED)

    found = once.get_object(Bucket=bucket, Key="k")

    assert found["ContentLength"] == len(BYTES)
    with pytest.raises(BotoCoreError):
        found["Body"].read()
    assert proxy.counts == {Fault.TRUNCATED: 1}


def test_an_answer_without_a_body_is_lost_rather_than_truncated(proxy: FaultyHttp, once: Any, bucket: str) -> None:
    proxy.share, proxy.weights = 1, only(Fault.TRUNCATED)

    with pytest.raises(ConnectionClosedError):
        once.head_bucket(Bucket=bucket)

    assert proxy.counts == {Fault.LOST: 1}


def test_late_answers_are_whole(proxy: FaultyHttp, once: Any, bucket: str, behind: Any) -> None:
    behind.put_object(Bucket=bucket, Key="k", Body=BYTES)
    proxy.share, proxy.weights, proxy.latency = 1, only(Fault.LATE), 0.01

    assert once.get_object(Bucket=bucket, Key="k")["Body"].read() == BYTES
    assert proxy.counts == {Fault.LATE: 1}


def test_its_share_is_about_right_and_every_fault_has_its_part(proxy: FaultyHttp) -> None:
    proxy.share = 0.2

    drawn = Counter(proxy.draw() for _ in range(6000))

    assert 1000 < 6000 - drawn[None] < 1400
    assert all(130 < drawn[fault] < 270 for fault in Fault)


def test_retries_get_through(proxy: FaultyHttp, bucket: str) -> None:
    proxy.share, proxy.latency = 0.2, 0.01
    proxy.weights = only(Fault.RESET, Fault.LOST, Fault.LATE)  # after these nobody waits for long

    with closing(connect(proxy.port, attempts=10)) as client:
        for number in range(30):
            client.put_object(Bucket=bucket, Key=str(number), Body=BYTES)
        proxy.share = 0

        assert len(keys(client, bucket)) == 30
    assert proxy.counts[Fault.RESET] and proxy.counts[Fault.LOST] and proxy.counts[Fault.LATE]


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [(DENIED, 403, "AccessDenied"), (EXPIRED, 400, "ExpiredToken"), (MISSING, 404, "NoSuchBucket")],
)
def test_refuses_everything_until_it_is_told_otherwise(
    proxy: FaultyHttp, once: Any, bucket: str, refusal: Refusal, status: int, code: str
) -> None:
    proxy.refuse_all = refusal

    with pytest.raises(ClientError) as listing:
        once.list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError) as look:
        once.head_object(Bucket=bucket, Key="k")

    assert listing.value.response["Error"]["Code"] == code
    assert look.value.response["Error"]["Code"] == str(status)
    proxy.refuse_all = None
    assert keys(once, bucket) == []


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (DENIED, "AccessDenied"),
        (EXPIRED, "ExpiredToken"),
        (MISSING, "AWS.SimpleQueueService.NonExistentQueue"),
        (THROTTLED, "RequestThrottled"),
    ],
)
def test_speaks_the_language_of_sqs_too(proxy: FaultyHttp, refusal: Refusal, code: str) -> None:
    with closing(connect(proxy.port, attempts=1, service="sqs")) as sqs:
        url = sqs.create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]
        proxy.refuse_all = refusal

        with pytest.raises(ClientError) as caught:
            sqs.receive_message(QueueUrl=url)

    assert caught.value.response["Error"]["Code"] == code


def test_cuts_idle_connections(proxy: FaultyHttp) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as raw:
        wait_until(proxy.cut)

        with pytest.raises(ConnectionResetError):
            raw.recv(1)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def ask(proxy: FaultyHttp, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A request that has got to the server: the client's connection and the server's."""
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
    client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    accepted, _ = server.accept()
    assert accepted.recv(10000).startswith(b"GET /")
    return client, accepted


def test_cuts_who_waits_for_an_answer(silent: socket.socket) -> None:
    with FaultyHttp(silent.getsockname()[1], share=0) as proxy:
        client, accepted = ask(proxy, silent)
        with client, accepted:
            assert proxy.cut() == 1

            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_ends_though_the_server_never_answers(silent: socket.socket) -> None:
    with FaultyHttp(silent.getsockname()[1], share=0) as proxy:
        client, accepted = ask(proxy, silent)

    with client, accepted, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_resets_who_asks_while_there_is_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with FaultyHttp(port, share=0) as proxy, closing(connect(proxy.port, attempts=1)) as client:
        with pytest.raises(ConnectionClosedError):
            client.list_buckets()
        assert proxy.counts == {"no_upstream": 1}
