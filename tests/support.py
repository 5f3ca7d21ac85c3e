"""What tests of several parts share."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(predicate: Callable[[], object], timeout: float = 30.0, message: str = "") -> None:
    """Wait until `predicate` is true, or fail. The limit is for a stuck test, not a measure of speed."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(message or f"not true within {timeout} s: {predicate}")
        time.sleep(0.01)
