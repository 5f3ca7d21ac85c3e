"""One log line when something stops working, and one when it works again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from watcher.core.errors import Unavailable, WatcherError


class Outage:
    """Whether something fails at present, for one thread.

    Logs a warning when the outage begins, one for each further kind of error while it lasts, and an info when it ends.
    """

    def __init__(self, log: Any, failed: str, recovered: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`log` is the caller's structlog logger; `failed` and `recovered` are the names of its two events."""
        self._log, self._failed, self._recovered, self._clock = log, failed, recovered, clock
        self._kinds: set[type[Exception]] = set()
        self._began = 0.0
        self.failures = 0
        """Failures in a row."""

    def fail(self, error: Exception) -> None:
        """It has failed. An error that nobody expected is logged with its traceback."""
        if not self.failures:
            self._began = self._clock()
        self.failures += 1
        kind = type(error)
        if kind not in self._kinds:
            self._kinds.add(kind)
            reason = error.reason if isinstance(error, WatcherError) else kind.__name__
            unexpected = None if isinstance(error, Unavailable) else error
            self._log.warning(self._failed, reason=reason, problem=str(error), exc_info=unexpected)

    def recover(self) -> bool:
        """It works; returns whether that ends an outage."""
        if not self.failures:
            return False
        seconds = round(self._clock() - self._began, 3)
        self._log.info(self._recovered, seconds=seconds, failures=self.failures)
        self._kinds.clear()
        self.failures = 0
        return True
