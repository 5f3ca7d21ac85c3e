"""One log line when something stops working, and one when it works again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from watcher.core.errors import Unavailable, WatcherError


class Outage:
    """Whether something fails at present, for one thread.

    Logs a warning when the outage begins, one for each further kind of error while it lasts, and an info when it ends.
    What the log says already, because other parts have the same outage, is logged at the level `debug`.
    """

    def __init__(self, log: Any, failed: str, recovered: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`log` is the caller's structlog logger; `failed` and `recovered` are the names of its two events."""
        self._log, self._failed, self._recovered, self._clock = log, failed, recovered, clock
        self._reasons: set[str] = set()
        self._began = 0.0
        self._visible = False
        """Whether this outage has been logged above `debug`."""
        self.failures = 0
        """Failures in a row."""

    def fail(self, error: Exception, *, always_visible: bool = False) -> None:
        """Record a failure. An unexpected error is logged with its traceback.

        With `always_visible`, it is logged as a warning even if the log says already why.
        """
        reason = error.reason if isinstance(error, WatcherError) else type(error).__name__
        announced = isinstance(error, Unavailable) and error.announced and not always_visible
        unexpected = None if isinstance(error, Unavailable) else error
        self.record(reason, str(error), announced=announced, exc_info=unexpected)

    def record(self, reason: str, problem: str, *, announced: bool = False, **fields: object) -> None:
        """Record a failure that another process reported; `fields` are added to its log line."""
        if not self.failures:
            self._began = self._clock()
        self.failures += 1
        if reason not in self._reasons:
            self._reasons.add(reason)
            self._visible = self._visible or not announced
            write = self._log.debug if announced else self._log.warning
            write(self._failed, reason=reason, problem=problem, **fields)

    def recover(self, **fields: object) -> bool:
        """Record a success; returns whether it ends an outage. `fields` are added to the log line."""
        if not self.failures:
            return False
        seconds = round(self._clock() - self._began, 3)
        write = self._log.info if self._visible else self._log.debug
        write(self._recovered, seconds=seconds, failures=self.failures, **fields)
        self._reasons.clear()
        self.failures, self._visible = 0, False
        return True
