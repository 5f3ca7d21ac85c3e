"""Run a call that may hang in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Attempt:
    """One call in a daemon thread, started at once. A call that hangs does not keep the process alive."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._finished = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="attempt").start()

    def finished(self, timeout: float) -> bool:
        """Wait for at most `timeout` seconds; whether the call has returned or raised."""
        return self._finished.wait(timeout)

    def raise_error(self) -> None:
        """Raise what the call has raised, if anything."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error
        finally:
            self._finished.set()
