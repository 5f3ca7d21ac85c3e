"""The HTTP server, which runs in its own thread."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from watcher.core.errors import ConfigurationError
from watcher.web.timeouts import TimeoutProtocol

STOP_TIMEOUT = 5
"""Seconds that open requests have to finish when the server stops."""


class HttpServer:
    """Serves an ASGI application from `start` to `stop`."""

    def __init__(self, app: Callable[..., Awaitable[Any]], host: str, port: int) -> None:
        """With port 0, the system chooses a free port."""
        self.host, self.port = host, port
        config = uvicorn.Config(
            app,
            http=TimeoutProtocol,
            server_header=False,
            log_config=None,  # telemetry.logs has configured the standard library's logging
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=STOP_TIMEOUT,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind the port and serve in a thread; connections are accepted from now on. Raises ConfigurationError."""
        listener = self._listen()
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="http", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the server's thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Finish the open requests, accept no more, and wait for the thread."""
        self._server.should_exit = True
        if self._thread:
            self._thread.join(2 * STOP_TIMEOUT)

    def _listen(self) -> socket.socket:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, kind, protocol)
        except (OSError, UnicodeError) as error:
            raise self._cannot_bind(error) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise self._cannot_bind(error) from error
        return listener

    def _cannot_bind(self, error: OSError | UnicodeError) -> ConfigurationError:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "the port is in use" if in_use else str(error)
        return ConfigurationError(
            f"--http {self.host}:{self.port} cannot be served ({why}): choose another address, or --http off."
        )
