"""Proxies that make networks and services as bad as they get: one for S3 and SQS, one for any protocol over TCP.

Each listens on a free port of 127.0.0.1 and counts what it does. Same seed, same faults, as far as the order in which
requests arrive is the same.
"""

from __future__ import annotations

import http.client
import math
import socket
import socketserver
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.equipment.proxy import Proxy, hang_up
from tests.equipment.refusals import BROKEN, THROTTLED, Answer, Refusal, refused

_HOP_BY_HOP = {"connection", "keep-alive", "expect", "transfer-encoding", "te", "trailer", "upgrade"}


class Fault(StrEnum):
    """A fault that a request can meet."""

    SLOW_DOWN = "slow_down"
    """Refused for now: 503 of S3, a throttled request of SQS."""
    ERROR = "error"
    """500; the server has not seen the request."""
    RESET = "reset"
    """The connection is reset before the server has seen the request."""
    LOST = "lost"
    """The server has processed the request, but the connection is reset instead of an answer."""
    LATE = "late"
    """The answer takes up to `latency` seconds more."""
    TRUNCATED = "truncated"
    """Half of the answer's body comes, then the connection is closed. An answer without a body is lost instead."""


_REFUSED: Mapping[Fault | None, Refusal] = {Fault.SLOW_DOWN: THROTTLED, Fault.ERROR: BROKEN}


class FaultyHttp(Proxy):
    """A proxy between an HTTP client and a server. It does not change requests, so that signatures stay valid.

    `weights`, `latency` and `refuse_all` may be set at any time, as `share` may.
    """

    def __init__(self, upstream_port: int, seed: int = 1, share: float = 0.2, latency: float = 0.2) -> None:
        self.latency = latency
        """Most seconds that an answer is late."""
        self.weights: Mapping[Fault, float] = dict.fromkeys(Fault, 1.0)
        """How often each fault comes, compared to the others."""
        self.refuse_all: Refusal | None = None
        """What every request is answered with, before any fault: DENIED, EXPIRED, MISSING, THROTTLED, BROKEN."""
        super().__init__(_HttpHandler, upstream_port, seed, share)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def draw(self) -> Fault | None:
        """Draw the fault of the next request; None for none."""
        with self.lock:
            if self.random.random() >= self.share:
                return None
            return self.random.choices([*self.weights], [*self.weights.values()])[0]

    def delay(self) -> None:
        """Wait for up to `latency` seconds."""
        with self.lock:
            seconds = self.random.uniform(0, self.latency)
        self.closing.wait(seconds)


class _HttpHandler(BaseHTTPRequestHandler):
    """One client's connection, one request after the other."""

    server: FaultyHttp
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Forward a request of any method, or let it meet a fault."""
        fault = None if self.server.refuse_all else self.server.draw()
        if fault is Fault.RESET:
            return self._reset(fault)
        body = self._body()
        if refusal := self.server.refuse_all or _REFUSED.get(fault):
            return self._send(refused(refusal, self), fault or refusal.code)
        if fault is Fault.LATE:
            self.server.delay()
        return self._forward(body, fault)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the counts are enough."""

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        try:
            answer = self._ask(body)
        except (OSError, http.client.HTTPException):
            return self._reset("no_upstream")
        if fault is Fault.LOST or (fault is Fault.TRUNCATED and not answer.body):
            return self._reset(Fault.LOST)
        return self._send(answer, fault or "passed")

    def _ask(self, body: bytes) -> Answer:
        """Forward the request; returns the server's answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.upstream_port)) as upstream:
            upstream.connect()
            with self.server.behind(self.connection, upstream.sock):
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in _end_to_end(self.headers.items()):
                    if name.lower() != "content-length":
                        upstream.putheader(name, value)
                if body or self.command in ("PUT", "POST"):
                    upstream.putheader("Content-Length", str(len(body)))
                upstream.endheaders(body)
                answer = upstream.getresponse()
                return Answer(answer.status, _end_to_end(answer.getheaders()), answer.read())

    def _send(self, answer: Answer, what: str) -> None:
        self.server.count(what)
        end = len(answer.body)
        if what == Fault.TRUNCATED:
            end //= 2
            self.close_connection = True
        self.wfile.write(answer.head() + answer.body[:end])

    def _reset(self, what: str) -> None:
        self.server.count(what)
        hang_up(self.connection)
        self.close_connection = True

    def _body(self) -> bytes:
        """Read the whole body. Raises OSError if the client hangs up before its end."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self._exactly(int(self.headers.get("Content-Length", 0)))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().partition(b";")[0], 16)
        chunk = self._exactly(size)
        while self.rfile.readline().strip():
            pass  # trailers, after the last chunk
        return chunk

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionAbortedError("the client hung up in the middle of a request")
        return data


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


class FaultyTcp(Proxy):
    """A proxy for any protocol, which delays some data and resets connections in the middle of it.

    `share` of the pieces of data come up to `latency` seconds late; `between_resets` is the mean time, in seconds, from
    one reset of a connection to the next while data flows. All three may be set at any time.
    """

    def __init__(
        self,
        upstream_port: int,
        seed: int = 1,
        share: float = 0.05,
        latency: float = 0.2,
        between_resets: float = math.inf,
    ) -> None:
        self.latency = latency
        self.between_resets = between_resets
        self._refuses = False
        self._last = time.monotonic()
        super().__init__(_TcpHandler, upstream_port, seed, share)

    def refuse(self) -> None:
        """Reset every new connection at once; those that are open stay."""
        self._refuses = True

    def allow(self) -> None:
        """Accept new connections again."""
        self._refuses = False

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a new connection is accepted."""
        if self._refuses:
            self.count("refused")
            hang_up(request)
        return not self._refuses

    def draw(self) -> tuple[float, bool]:
        """Draw the delay in seconds of the next piece of data, and whether the connection is reset in its middle."""
        with self.lock:
            now = time.monotonic()
            elapsed, self._last = now - self._last, now
            reset = self.random.random() < -math.expm1(-elapsed / self.between_resets)
            late = self.random.random() < self.share
            return self.random.uniform(0, self.latency) if late else 0.0, reset

    def part_of(self, chunk: bytes) -> bytes:
        """The part of the data that arrives before a reset: none, all, or a beginning."""
        with self.lock:
            return chunk[: self.random.randint(0, len(chunk))]


class _TcpHandler(socketserver.BaseRequestHandler):
    """One client's connection and its counterpart to the server, a thread for each direction."""

    server: FaultyTcp
    request: socket.socket

    def handle(self) -> None:
        """Pass data on until client or server hangs up, or the connection is reset."""
        self.server.count("connections")
        try:
            upstream = socket.create_connection(("127.0.0.1", self.server.upstream_port), timeout=60)
        except OSError:
            self.server.count("no_upstream")
            hang_up(self.request)
            return
        upstream.settimeout(None)
        with upstream, self.server.behind(self.request, upstream):
            for side in (self.request, upstream):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(upstream, self.request), name="faulty")
            back.start()
            self._pump(self.request, upstream)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                self._pass(chunk, target)
            if self.server.keeps(self.request):
                target.shutdown(socket.SHUT_WR)
                return
        self.server.cut(self.request)

    def _pass(self, chunk: bytes, target: socket.socket) -> None:
        late, reset = self.server.draw()
        if late:
            self.server.count("late")
            self.server.closing.wait(late)
        if not self.server.keeps(self.request):
            raise ConnectionResetError
        target.sendall(self.server.part_of(chunk) if reset else chunk)
        if reset:
            self.server.count("reset")
            raise ConnectionResetError
