"""The proxy for TCP does to connections what it says, on both sides, and counts it."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.equipment.faulty import FaultyTcp

BYTES = bytes(range(256)) * 40


class Echo(socketserver.BaseRequestHandler):
    """Says what it hears."""

    server: EchoServer

    def handle(self) -> None:
        try:
            while chunk := self.request.recv(65536):
                self.request.sendall(chunk)
        except ConnectionError:
            self.server.resets.release()


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.resets = threading.Semaphore(0)


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tcp(echo: EchoServer) -> Iterator[FaultyTcp]:
    with FaultyTcp(echo.server_address[1], seed=3, share=0) as proxy:
        yield proxy


def dial(proxy: FaultyTcp) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30)


def said_back(connection: socket.socket, data: bytes) -> bool:
    connection.sendall(data)
    heard = b""
    while len(heard) < len(data):
        heard += connection.recv(65536) or b"the end"
    return heard == data


def call(proxy: FaultyTcp) -> bool:
    """Whether a new connection works; raises ConnectionError where there is none."""
    with dial(proxy) as connection:
        return said_back(connection, b"x")


def test_changes_nothing_as_long_as_nothing_is_to_happen(tcp: FaultyTcp) -> None:
    with dial(tcp) as connection:
        assert said_back(connection, BYTES)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""

    assert tcp.counts == {"connections": 1}


def test_is_late_now_and_then(tcp: FaultyTcp) -> None:
    tcp.share, tcp.latency = 0.5, 0.001

    with dial(tcp) as connection:
        assert all(said_back(connection, b"x") for _ in range(40))

    assert 20 < tcp.counts["late"] < 60


def test_resets_connections_at_random_on_both_sides(tcp: FaultyTcp, echo: EchoServer) -> None:
    tcp.between_resets = 1e-9

    with dial(tcp) as connection, pytest.raises(ConnectionResetError):
        said_back(connection, BYTES)

    assert echo.resets.acquire(timeout=30)
    assert tcp.counts["reset"]


def test_time_between_resets_is_what_was_asked_for(tcp: FaultyTcp, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(1000.0, 2000.0, 0.1))
    monkeypatch.setattr("tests.equipment.faulty.time.monotonic", lambda: float(next(clock)))
    tcp.draw()
    tcp.between_resets = 10.0

    resets = sum(tcp.draw()[1] for _ in range(9000))

    assert 60 < resets < 120


def test_cuts_all_connections_on_both_sides(tcp: FaultyTcp, echo: EchoServer) -> None:
    with dial(tcp) as one, dial(tcp) as two:
        assert said_back(one, b"x") and said_back(two, b"x")

        assert tcp.cut() == 2

        for connection in (one, two):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            assert echo.resets.acquire(timeout=30)
    assert call(tcp)


def test_refuses_and_allows_new_connections(tcp: FaultyTcp) -> None:
    with dial(tcp) as old:
        assert said_back(old, b"x")
        tcp.refuse()

        with pytest.raises(ConnectionError):
            call(tcp)

        assert said_back(old, b"x")
    tcp.allow()
    assert call(tcp)
    assert tcp.counts == {"connections": 2, "refused": 1}
