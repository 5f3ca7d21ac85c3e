"""Something that may hang, tried in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Attempt:
    """One call, begun at once. A call that never ends is left behind: its thread does not keep the process alive."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="attempt").start()

    def ended(self, wait: float) -> bool:
        """Whether it has ended, after at most `wait` seconds."""
        return self._ended.wait(wait)

    def result(self) -> None:
        """Raises what the call has raised, if it has."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
