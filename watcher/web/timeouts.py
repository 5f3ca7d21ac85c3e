"""Time-outs and a limit for HTTP connections: uvicorn itself waits without end for a request's headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS = 200
"""Open connections at a time, so that clients cannot use up the file descriptors that the daemon needs for its work."""
REQUEST_TIMEOUT = 10.0
"""Seconds in which a connection must send its first request, or the next one after a response."""
WRITE_TIMEOUT = 30.0
"""Seconds after which a connection is closed whose client reads nothing of a response that waits for it."""


class TimeoutProtocol(H11Protocol):
    """Closes connections above MAX_CONNECTIONS, and those whose client neither sends a request nor reads a response."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or abort it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._schedule_check(None)

    def _schedule_check(self, last_cycle: RequestResponseCycle | None) -> None:
        self.loop.call_later(REQUEST_TIMEOUT, self._check, last_cycle)

    def _check(self, last_cycle: RequestResponseCycle | None) -> None:
        """Close the connection if no request has arrived since the last check and none is being answered."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is last_cycle and (cycle is None or cycle.response_complete):
            self.transport.close()
        else:
            self._schedule_check(cycle)

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written: see that it reads at all."""
        super().pause_writing()
        self.loop.call_later(WRITE_TIMEOUT, self._check_reading, self.transport.get_write_buffer_size())

    def _check_reading(self, waiting: int) -> None:
        """Abort the connection if the client has read nothing since the last check."""
        now = self.transport.get_write_buffer_size()
        if not self.flow.write_paused or self.transport.is_closing():
            return
        if now >= waiting:
            self.transport.abort()
        else:
            self.loop.call_later(WRITE_TIMEOUT, self._check_reading, now)
