"""What proxies that break connections have in common."""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

_RESET = struct.pack("ii", 1, 0)  # lingering for no time: closing sends RST instead of FIN


def hang_up(connection: socket.socket) -> None:
    """End a connection: the thread that reads from it sees its end, and the other side a reset once it is closed."""
    with suppress(OSError):  # the other side was faster
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)  # tells the other side nothing


class Proxy(socketserver.ThreadingTCPServer):
    """Accepts connections, a thread for each, and can reset them."""

    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(
        self, handler: type[socketserver.BaseRequestHandler], upstream_port: int, seed: int, share: float
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.upstream_port = upstream_port
        self.share = share
        """How many requests (or pieces of data) something happens to, 0 to 1; may be set at any time."""
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.random = Random(seed)
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._behind: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="faulty")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.cut()
        with self.lock:
            for upstream in self._behind.values():
                with suppress(OSError):
                    upstream.shutdown(socket.SHUT_RDWR)  # wakes even those who send to a server that does not listen
        self.server_close()

    @property
    def port(self) -> int:
        """The port on which the proxy listens."""
        return int(self.server_address[1])

    def count(self, what: str) -> None:
        """Count one event of this kind."""
        with self.lock:
            self.counts[what] += 1

    def cut(self, *connections: socket.socket) -> int:
        """Reset these connections, or all; returns how many there were."""
        with self.lock:
            cut = self._open.intersection(connections) if connections else self._open
            self._open = self._open - cut
            for connection in cut:
                hang_up(connection)
                if connection in self._behind:
                    hang_up(self._behind[connection])
            return len(cut)

    @contextmanager
    def behind(self, connection: socket.socket, upstream: socket.socket) -> Iterator[None]:
        """Pair a client's connection with the one to the server, so that both are reset together."""
        with self.lock:
            if connection not in self._open or self.closing.is_set():
                raise ConnectionAbortedError("cut before it got to the server")
            self._behind[connection] = upstream
        try:
            yield
        finally:
            with self.lock:
                del self._behind[connection]

    def keeps(self, connection: socket.socket) -> bool:
        """Whether a client's connection has not been reset."""
        with self.lock:
            return connection in self._open

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        with self.lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close it, without the FIN that would come before a reset."""
        with self.lock:
            self._open.discard(request)
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: this proxy breaks connections on purpose."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
