"""A call that may hang runs beside the main thread."""

from __future__ import annotations

import threading

import pytest

from watcher.core.attempt import Attempt
from watcher.core.errors import Unavailable


def test_a_call_that_returns_raises_nothing() -> None:
    attempt = Attempt(lambda: 1)
    assert attempt.finished(60)
    attempt.raise_error()


def test_its_error_is_raised_in_the_thread_that_asks() -> None:
    def fail() -> None:
        raise Unavailable("no network")

    attempt = Attempt(fail)
    assert attempt.finished(60)
    with pytest.raises(Unavailable, match="no network"):
        attempt.raise_error()


def test_a_call_that_hangs_is_not_waited_for() -> None:
    forever = threading.Event()
    attempt = Attempt(forever.wait)
    assert not attempt.finished(0.01)
    forever.set()
    assert attempt.finished(60)
