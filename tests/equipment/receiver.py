"""A receiver of notifications: a real HTTP server that checks signatures and keeps what it accepts; and its judge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a secret of the tests, long enough"


@dataclass
class Receiver:
    """The requests in the order of arrival; `answer` chooses the status of each."""

    port: int = 0
    accepted: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Every request's message, whatever the answer was."""
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    unsigned: int = 0
    """Requests whose signature was wrong."""
    answer: Callable[[dict[str, Any]], int] = lambda message: 204
    answer_headers: dict[str, str] = field(default_factory=dict)
    text: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """The address of the receiver."""
        return f"http://127.0.0.1:{self.port}/hook"

    def receive(self, headers: dict[str, str], body: bytes) -> int:
        """Keep a request, and return the status of its answer."""
        message = json.loads(body)
        with self.lock:
            self.requests.append(message)
            self.headers.append(headers)
            self.bodies.append(body)
            if not is_signed(headers, body):
                self.unsigned += 1
                return 401
            status = self.answer(message)
            if 200 <= status < 300:
                self.accepted.append(message)
            return status


def is_signed(headers: dict[str, str], body: bytes, secret: str = SECRET) -> bool:
    """Whether a request is signed with the secret; written independently of the code that signs."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    wanted = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{wanted}"


@contextmanager
def receiving(port: int = 0, **options: Any) -> Iterator[Receiver]:
    """A receiver until the end of the block; on a free port, or on one where another was before."""
    receiver = Receiver(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.receive(headers, body)
            self.send_response(status)
            for name, value in {"content-length": str(len(receiver.text)), **receiver.answer_headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.text)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Do not report that a sender was killed."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", port), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def judge(accepted: list[dict[str, Any]], finished: dict[str, list[str]]) -> list[str]:
    """What is wrong with the notifications that arrived, given the ids of each key's notifications in their order.

    Each must have arrived at least once, nothing else may have, and no key's may have overtaken an earlier one.
    """
    arrived: dict[str, list[str]] = {}
    for message in accepted:
        arrived.setdefault(message["key"], []).append(message["id"])
    problems = [f"{key}: invented" for key in arrived.keys() - finished.keys()]
    for key, ids in finished.items():
        first = list(dict.fromkeys(arrived.get(key, [])))
        if first != ids:
            problems.append(f"{key}: {first} arrived, not {ids}")
    return problems
