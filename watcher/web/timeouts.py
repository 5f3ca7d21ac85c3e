"""Time-outs and a limit for HTTP connections: uvicorn itself waits without end for a request's headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS = 200
"""Open connections at a time, so that clients cannot use up the file descriptors that the daemon needs for its work."""
REQUEST_TIMEOUT = 10.0
"""Seconds in which a connection must send its first request, or the next one after a response."""


class TimeoutProtocol(H11Protocol):
    """Closes connections above MAX_CONNECTIONS, and those on which no request arrives within REQUEST_TIMEOUT."""

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
