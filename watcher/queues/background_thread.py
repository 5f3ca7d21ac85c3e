"""A thread that reports its own death."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class BackgroundThread:
    """A daemon thread, started at once, whose exception is logged and raised by `check`."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self._run = run
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, daemon=True, name=name)
        self._thread.start()

    def check(self) -> None:
        """Raise RuntimeError if the thread has ended with an exception."""
        if self._error is not None:
            raise RuntimeError(
                f"the thread {self._thread.name} has stopped because of an unexpected error"
            ) from self._error

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the thread to end."""
        self._thread.join(timeout)

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._error = error
            log.exception("thread_died", thread=self._thread.name)
