"""HTTP connections that cannot be held open for nothing: uvicorn waits for a request's head for as long as it takes."""

from __future__ import annotations

import asyncio

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

log = structlog.get_logger(__name__)

MOST_CONNECTIONS = 200
"""At a time, so that strangers cannot take the descriptors that the daemon needs for its work."""
PATIENCE = 10.0
"""Seconds in which a connection must bring a request, its first or its next one."""


class PatientProtocol(H11Protocol):
    """Drops connections beyond MOST_CONNECTIONS, and those on which no request comes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room for it."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._look_again(None)

    def _look_again(self, served: RequestResponseCycle | None) -> None:
        self.loop.call_later(PATIENCE, self._look, served)

    def _look(self, served: RequestResponseCycle | None) -> None:
        """End the connection where since the last look no request has come, and none is being answered."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is served and (cycle is None or cycle.response_complete):
            self.transport.close()
        else:
            self._look_again(cycle)
