"""Idle connections cannot block the daemon's pages or use up its file descriptors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from tests.equipment.support import STUCK, wait_until
from watcher.telemetry.health import Health
from watcher.telemetry.metrics import Metrics
from watcher.web import timeouts
from watcher.web.app import create_app
from watcher.web.events import events_route
from watcher.web.server import HttpServer
from watcher.web.timeouts import TimeoutProtocol

GET = b"GET /livez HTTP/1.1\r\nhost: here\r\n"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer(create_app(Metrics(), Health(), [events_route("token", lambda body: None)]), "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "REQUEST_TIMEOUT", 1.0)


def connected(server: HttpServer, begins: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(begins)
    return connection


def answered(connection: socket.socket) -> bytes:
    """Everything received until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("begins", [b"", GET, GET + b"x-dribble: "], ids=["nothing", "half a request", "half a header"])
def test_a_connection_without_a_request_is_closed(server: HttpServer, begins: bytes) -> None:
    with connected(server, begins) as connection:
        assert answered(connection) == b""


@pytest.mark.usefixtures("short_timeout")
def test_a_connection_with_an_unfinished_next_request_is_closed(server: HttpServer) -> None:
    with connected(server, GET + b"\r\n" + GET) as connection:
        assert answered(connection).count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.usefixtures("short_timeout")
def test_a_rejected_client_that_keeps_sending_is_disconnected(server: HttpServer) -> None:
    head = b"POST /events HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n"
    with connected(server, head + b"{") as connection:
        assert answered(connection).startswith(b"HTTP/1.1 401 ")


def test_endless_headers_are_refused(server: HttpServer) -> None:
    with connected(server, GET + b"x-long: " + b"x" * 100_000) as connection:
        assert answered(connection).startswith(b"HTTP/1.1 400 ")


def test_connections_above_the_limit_are_dropped_and_the_others_stay(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "MAX_CONNECTIONS", 3)
    with ExitStack() as stack:
        first = stack.enter_context(connected(server, GET + b"\r\n"))
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
        for _ in range(2):
            stack.enter_context(connected(server))
        with connected(server) as one_more:
            assert answered(one_more) == b""
        first.sendall(GET + b"\r\n")
        assert first.recv(1000)
    # When some are closed, there is room for others
    wait_until(lambda: answers(server), STUCK)


def answers(server: HttpServer) -> bool:
    with connected(server, GET + b"connection: close\r\n\r\n") as connection:
        return answered(connection).startswith(b"HTTP/1.1 200 ")


class Loop:
    """An event loop that runs its scheduled calls on demand."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, _: float, what: Callable[..., None], *words: Any) -> None:
        self.due.append(lambda: what(*words))


class Transport(asyncio.Transport):
    """A transport that records whether it was closed."""

    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Cycle:
    """A request and its response, in progress until it is complete."""

    response_complete = False


def test_a_connection_with_a_slow_response_stays_open() -> None:
    # Given a connection with a request in progress
    protocol = TimeoutProtocol.__new__(TimeoutProtocol)
    loop, transport, cycle = Loop(), Transport(), Cycle()
    protocol.loop, protocol.transport, protocol.cycle = loop, transport, cycle  # type: ignore[assignment]
    protocol._schedule_check(None)
    # When it is checked again and again
    for _ in range(5):
        loop.due.pop()()
    # Then it stays open, also when the response is complete and another request has arrived
    cycle.response_complete = True
    protocol.cycle = Cycle()  # type: ignore[assignment]
    loop.due.pop()()
    assert not transport.closed
    # Until no more requests arrive
    protocol.cycle.response_complete = True
    loop.due.pop()()
    assert transport.closed and not loop.due


def test_a_client_that_does_not_read_its_response_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "WRITE_TIMEOUT", 0.5)
    ended: list[str] = []

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    await asyncio.sleep(0)
                    yield bytes(1 << 20)
            finally:
                ended.append("ended")

        await StreamingResponse(pieces())(scope, receive, send)

    server = HttpServer(endless, "127.0.0.1", 0)
    server.start()
    with connected(server, GET + b"\r\n") as connection:
        assert connection.recv(100)
        wait_until(lambda: ended, STUCK, "a client that does not read kept its response alive")
    server.stop()
    assert not server.alive
