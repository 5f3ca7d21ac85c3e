"""What may hang is tried beside the main thread."""

from __future__ import annotations

import threading

import pytest

from watcher.core.attempt import Attempt
from watcher.core.errors import Unavailable


def test_a_call_that_ends_well_has_nothing_to_say() -> None:
    attempt = Attempt(lambda: 1)
    assert attempt.ended(60)
    attempt.result()


def test_what_it_raises_is_raised_where_it_is_asked() -> None:
    def fail() -> None:
        raise Unavailable("no network")

    attempt = Attempt(fail)
    assert attempt.ended(60)
    with pytest.raises(Unavailable, match="no network"):
        attempt.result()


def test_a_call_that_hangs_is_not_waited_for() -> None:
    forever = threading.Event()
    attempt = Attempt(forever.wait)
    assert not attempt.ended(0.01)
    forever.set()
    assert attempt.ended(60)
