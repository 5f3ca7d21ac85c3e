"""A small HTTP proxy whose answers a test can script: it loses, cuts or replaces those of the server."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Headers = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """The answer to a request; `cut` bytes are missing at its end."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    cut: int = 0


def refusal(status: int, code: str, message: str = "") -> Answer:
    """An error as S3 answers it."""
    told = f"<Message>{message}</Message>" if message else ""
    return Answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code>{told}</Error>'.encode())


@dataclass
class ScriptedProxy:
    """What the proxy does with requests and answers; a test may change it at any time."""

    port: int
    seen: list[str] = field(default_factory=list)
    """Method and path of each request."""
    connections: int = 0
    """How many were opened."""
    headers: Callable[[str, Headers], Headers] = lambda method, headers: headers
    """What a request's headers become, by its method."""
    instead: Callable[[str, str], Answer | None] = lambda method, path: None
    """What is answered to a method and path by the proxy itself; the server never sees that request."""
    changed: Callable[[str, Answer], Answer] = lambda method, answer: answer
    """What the server's answer becomes, by the method."""

    @property
    def endpoint(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """The methods of the requests so far, in order."""
        return [line.split()[0] for line in self.seen]


def times(number: int, answer: Answer, *methods: str) -> Callable[[str, str], Answer | None]:
    """The answer for that many requests of these methods; the server's own after that."""
    left = [answer] * number

    def instead(method: str, path: str) -> Answer | None:
        return left.pop() if left and method in methods else None

    return instead


@contextmanager
def scripted_proxy(server_port: int) -> Iterator[ScriptedProxy]:
    """A proxy on a free port of 127.0.0.1, until the end of the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server_port)) as server:
        server.daemon_threads = True
        server.proxy = ScriptedProxy(server.server_port)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.proxy  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def _handler(server_port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # boto3 waits a second for `100 Continue` from any other
        disable_nagle_algorithm = True

        def setup(self) -> None:
            """Count the connection."""
            super().setup()
            self.server.proxy.connections += 1  # type: ignore[attr-defined]

        def log_message(self, *args: object) -> None:
            """Log nothing."""

        def _pass(self) -> None:
            proxy: ScriptedProxy = self.server.proxy  # type: ignore[attr-defined]
            proxy.seen.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = proxy.instead(self.command, self.path)
            if answer is None:
                headers = proxy.headers(self.command, _without(dict(self.headers), "Expect"))
                answer = proxy.changed(self.command, _asked(server_port, self.command, self.path, body, headers))
            self._answer(answer)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            ending = {"Connection": "close"} if answer.cut else {}
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers | ending).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: len(answer.body) - answer.cut])

    return Handler


def _asked(port: int, method: str, path: str, body: bytes, headers: Headers) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body, headers)
        found = connection.getresponse()
        kept = _without(dict(found.getheaders()), "Connection", "Date", "Server")
        return Answer(found.status, found.read(), kept)
    finally:
        connection.close()


def _without(headers: Headers, *names: str) -> Headers:
    return {name: value for name, value in headers.items() if name not in names}
