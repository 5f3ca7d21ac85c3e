"""Lines of a pipe, as many at a time as have come: whoever takes each of them at once wakes up for each.

What has been written stays in the pipe, also when its writer is dead, so nothing is lost by taking it later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time

GATHER = 0.5
"""Seconds from one look into the pipe to the next, at the most; less where so much comes that it might fill up."""
PIPE = 1 << 16
"""Bytes that a pipe holds at least."""
ROOMY = 1 << 20
"""Bytes that it is to hold, so that a sudden flood need not wait for the next look."""


class Lines:
    """The lines of one pipe, for one thread."""

    def __init__(self, pipe: int) -> None:
        """`pipe` is a descriptor, open for as long as this is used."""
        self._pipe = pipe
        self._comes, self._ends = select.poll(), select.poll()
        self._comes.register(pipe, select.POLLIN)
        self._ends.register(pipe, 0)  # which hears of the end alone
        self._rest = b""
        self._looked_at = self._look_at = 0.0
        with contextlib.suppress(OSError, AttributeError):  # more than this user may have, or no Linux
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, ROOMY)

    def get(self, timeout: float) -> list[str]:
        """The next lines, one or more; none at the end. Raises TimeoutError."""
        until = time.monotonic() + timeout
        while True:
            self._gather()
            if not self._comes.poll(1000 * max(0.0, until - time.monotonic())):
                raise TimeoutError
            data = os.read(self._pipe, PIPE)
            self._plan(len(data))
            *whole, self._rest = (self._rest + data).split(b"\n")
            if whole or not data:
                return [line.decode("utf-8", "replace") for line in whole]

    def _gather(self) -> None:
        """Let more come."""
        pause = self._look_at - time.monotonic()
        if pause > 0:
            self._ends.poll(1000 * pause)

    def _plan(self, size: int) -> None:
        """The next look: when a quarter of a pipe has come at the present rate."""
        now = time.monotonic()
        quarter = (now - self._looked_at) * (PIPE / 4) / max(1, size)
        self._looked_at, self._look_at = now, now + min(GATHER, quarter)
