"""POST /events over real HTTP, as MinIO, Ceph, SNS and people send it."""

from __future__ import annotations

import base64
import hmac
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.equipment.support import wait_until
from watcher.core.errors import NotAnEvent, SourceMissing, WatcherError
from watcher.sources.events import LIMIT, parse
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web import events
from watcher.web.app import create_app
from watcher.web.events import MAX_CONCURRENT, events_route
from watcher.web.server import HttpServer

TOKEN = "pa55-wörd:+/="
BEARER = b"Bearer " + TOKEN.encode()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
RECORDED = Path(__file__).parents[1] / "fixtures" / "events"


class Receiver:
    """Accepts messages, or raises `error`; blocks while `open` is not set."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.waiting = self.most_waiting = 0
        self.error: WatcherError | None = None
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()

    def accept(self, body: bytes) -> None:
        with self._lock:
            self.waiting += 1
            self.most_waiting = max(self.waiting, self.most_waiting)
        assert self.open.wait(60)
        with self._lock:
            self.waiting -= 1
            if self.error:
                raise self.error
            self.taken.append(body)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def server(receiver: Receiver) -> Iterator[HttpServer]:
    app = create_app(Metrics(), Health(), [events_route(TOKEN, receiver.accept)])
    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    yield server
    receiver.open.set()
    server.stop()
    assert not server.alive


@pytest.fixture
def client(server: HttpServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=60) as client:
        yield client


def post(client: httpx.Client, body: bytes = b"{}", authorization: bytes = BEARER) -> httpx.Response:
    return client.post("/events", content=body, headers={b"authorization": authorization})


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def response_to(server: HttpServer, *lines: bytes, body: bytes = b"") -> bytes:
    """The first line of the response to a request that sends only `body`."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"\r\n".join((b"POST /events HTTP/1.1", b"host: here", *lines, b"", body)))
        with connection.makefile("rb") as answer:
            return answer.readline().strip()


@pytest.mark.parametrize("name", ["aws", "sns", "minio", "ceph", "eventbridge"])
def test_an_accepted_message_gets_204(client: httpx.Client, receiver: Receiver, name: str) -> None:
    body = (RECORDED / f"{name}.json").read_bytes()
    response = post(client, body)
    assert (response.status_code, response.content) == (204, b"")
    assert receiver.taken == [body]


@pytest.mark.parametrize(
    "authorization",
    [
        BEARER,
        b"bearer " + TOKEN.encode(),
        b"BEARER   " + TOKEN.encode(),
        basic("ceph", TOKEN),
        basic("", TOKEN),
        basic("ceph", TOKEN).replace(b"Basic", b"basic"),
    ],
)
def test_the_token_may_be_a_bearer_token_or_a_password(client: httpx.Client, authorization: bytes) -> None:
    assert post(client, authorization=authorization).status_code == 204


def test_a_url_with_a_password_is_enough_since_ceph_supports_nothing_else(
    server: HttpServer, receiver: Receiver
) -> None:
    url = f"http://rgw:pa55-w%C3%B6rd%3A%2B%2F%3D@127.0.0.1:{server.port}/events"
    assert httpx.post(url, content=b"{}", trust_env=False).status_code == 204
    assert receiver.taken == [b"{}"]


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"Bearer",
        BEARER[:-1],
        BEARER + b"x",
        BEARER.upper(),
        TOKEN.encode(),
        b"Token " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode("latin-1"),
        b"Basic",
        b"Basic " + TOKEN.encode(),
        b"Basic !!!!",
        b"Basic " + base64.b64encode(TOKEN.encode().replace(b":", b"")),
        basic(TOKEN, ""),
        basic("user", "wrong"),
    ],
)
def test_a_request_without_the_token_is_rejected(
    client: httpx.Client, receiver: Receiver, authorization: bytes
) -> None:
    response = post(client, authorization=authorization)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Basic realm="alphadrop", Bearer realm="alphadrop"'
    assert response.json() == {"error": "the token is missing or wrong"}
    assert receiver.taken == []


def test_tokens_are_compared_in_constant_time(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(events, "hmac", SimpleNamespace(compare_digest=compare))
    for authorization in (BEARER, BEARER[:-1], b"Basic !!!!"):
        post(client, authorization=authorization)
    assert compared == [(given, TOKEN.encode()) for given in (TOKEN.encode(), TOKEN.encode()[:-1], b"")]


def test_a_request_without_the_header_is_rejected(client: httpx.Client, receiver: Receiver) -> None:
    assert client.post("/events", content=b"{}").status_code == 401
    assert receiver.taken == []


@pytest.mark.parametrize("token", ["", " ", " x", "x\n"])
def test_a_token_that_no_header_can_carry_is_refused(token: str, receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="the token is empty"):
        events_route(token, receiver.accept)


def test_a_wrong_token_is_rejected_before_the_body_is_read(server: HttpServer) -> None:
    assert response_to(server, b"content-length: 1000") == b"HTTP/1.1 401 Unauthorized"


def test_a_content_length_that_is_too_large_is_rejected_before_the_body_is_read(server: HttpServer) -> None:
    length = b"content-length: %d" % (LIMIT + 1)
    assert response_to(server, b"authorization: " + BEARER, length).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_unknown_length_is_rejected_once_it_is_too_long(server: HttpServer, receiver: Receiver) -> None:
    chunk = b"%x\r\n%b\r\n" % (LIMIT + 1, b" " * (LIMIT + 1))
    headers = b"authorization: " + BEARER, b"transfer-encoding: chunked"
    assert response_to(server, *headers, body=chunk).startswith(b"HTTP/1.1 413 ")
    assert receiver.taken == []


def test_the_longest_allowed_body_arrives_whole(client: httpx.Client, receiver: Receiver) -> None:
    assert post(client, b"x" * LIMIT).status_code == 204
    assert receiver.taken == [b"x" * LIMIT]


def test_a_message_without_an_event_gets_400(client: httpx.Client, receiver: Receiver) -> None:
    with pytest.raises(NotAnEvent) as caught:
        parse(b"hello")
    receiver.error = caught.value
    response = post(client, b"hello")
    assert (response.status_code, response.json()) == (400, {"error": "it is not JSON"})
    assert "retry-after" not in response.headers


def test_an_outage_gets_503_and_retry_after(client: httpx.Client, receiver: Receiver) -> None:
    receiver.error = SourceMissing("the bucket is not there")
    response = post(client)
    assert (response.status_code, response.json()) == (503, {"error": "the bucket is not there"})
    assert int(response.headers["retry-after"]) > 0
    receiver.error = None
    assert post(client).status_code == 204


def in_background(client: httpx.Client, answers: list[int]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(post(client).status_code))
    thread.start()
    return thread


def test_no_response_is_sent_before_the_message_is_stored(client: httpx.Client, receiver: Receiver) -> None:
    receiver.open.clear()
    answers: list[int] = []
    thread = in_background(client, answers)
    wait_until(lambda: receiver.waiting == 1)
    assert answers == []
    receiver.open.set()
    thread.join(60)
    assert answers == [204]


def test_messages_that_wait_for_storage_do_not_delay_other_pages(client: httpx.Client, receiver: Receiver) -> None:
    receiver.open.clear()
    answers: list[int] = []
    threads = [in_background(client, answers) for _ in range(50)]
    wait_until(lambda: receiver.waiting == MAX_CONCURRENT)
    assert client.get("/metrics").status_code == client.get("/livez").status_code == 200
    receiver.open.set()
    for thread in threads:
        thread.join(60)
    assert answers == [204] * 50
    assert receiver.most_waiting == MAX_CONCURRENT


def waiting_sender(server: HttpServer, length: int = 2) -> socket.socket:
    """A connection that waits for `100 Continue` before it sends the body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = b"\r\n".join((b"POST /events HTTP/1.1", b"host: here", b"authorization: " + BEARER))
    connection.sendall(head + b"\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % length)
    return connection


def test_no_body_is_requested_before_a_slot_is_free(
    server: HttpServer, client: httpx.Client, receiver: Receiver
) -> None:
    receiver.open.clear()
    answers: list[int] = []
    threads = [in_background(client, answers) for _ in range(MAX_CONCURRENT)]
    wait_until(lambda: receiver.waiting == MAX_CONCURRENT)
    with waiting_sender(server) as late:
        assert client.get("/livez").status_code == 200  # the server has seen the other request before this one
        late.setblocking(False)
        with pytest.raises(BlockingIOError):
            late.recv(100)
        receiver.open.set()
        late.settimeout(60)
        assert late.recv(100).startswith(b"HTTP/1.1 100 ")
        late.sendall(b"{}")
        assert late.recv(100).startswith(b"HTTP/1.1 204 ")
    for thread in threads:
        thread.join(60)
    assert answers == [204] * MAX_CONCURRENT


def test_slow_senders_lose_their_slot_after_the_timeout(
    server: HttpServer, client: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BODY_TIMEOUT", 2.0)
    with ExitStack() as stack:
        slow = [stack.enter_context(waiting_sender(server)) for _ in range(MAX_CONCURRENT)]
        assert [connection.recv(len(CONTINUE)) for connection in slow] == [CONTINUE] * MAX_CONCURRENT
        assert post(client).status_code == 204
        assert [connection.recv(100)[:13] for connection in slow] == [b"HTTP/1.1 408 "] * MAX_CONCURRENT
    assert receiver.taken == [b"{}"]


def test_a_sender_that_disconnects_frees_its_slot(
    server: HttpServer, client: httpx.Client, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), waiting_sender(server, 9) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the server waits for the body
    assert post(client).status_code == 204
    server.stop()
    assert receiver.taken == [b"{}"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("authorization", [BEARER, BEARER + b"x", basic("u", TOKEN), basic(TOKEN, "wrong")])
def test_the_token_is_neither_echoed_nor_logged(
    client: httpx.Client, receiver: Receiver, caplog: pytest.LogCaptureFixture, authorization: bytes
) -> None:
    receiver.error = NotAnEvent("it is not JSON")
    with caplog.at_level(logging.DEBUG, logger="uvicorn"):
        response = post(client, TOKEN.encode(), authorization)
    shown = f"{response.headers}{response.text}{caplog.messages}"
    assert response.status_code in (400, 401)
    assert TOKEN not in shown and authorization.decode() not in shown


def test_events_are_posted(client: httpx.Client) -> None:
    assert client.get("/events", headers={b"authorization": BEARER}).status_code == 405


def test_the_index_lists_the_route(client: httpx.Client) -> None:
    assert "\n/events   accepts POST\n" in client.get("/").text


def test_there_is_no_route_unless_it_is_added() -> None:
    server = HttpServer(create_app(Metrics(), Health()), "127.0.0.1", 0)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=60) as client:
        assert post(client).status_code == 404
        assert "/events" not in client.get("/").text
    server.stop()
