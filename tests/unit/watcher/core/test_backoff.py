from __future__ import annotations

import pytest

from watcher.core.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "whole"), [(0, 0.2), (1, 0.2), (2, 0.4), (4, 1.6), (10, 30.0), (11, 30.0), (5000, 30.0)]
)
def test_delays_double_up_to_the_longest_however_many_failures_there_were(failures: int, whole: float) -> None:
    assert whole / 2 <= Backoff(0.2, 30.0, failures).delay() <= whole


def test_not_all_wait_equally_long() -> None:
    assert len({Backoff(1.0, 60.0, 2).delay() for _ in range(20)}) > 1


def test_a_success_starts_over() -> None:
    backoff = Backoff(1.0, 60.0)
    for _ in range(10):
        backoff.fail()
    assert backoff.failures == 10
    assert backoff.delay() >= 30.0
    backoff.reset()
    assert backoff.failures == 0
    assert backoff.delay() <= 1.0
