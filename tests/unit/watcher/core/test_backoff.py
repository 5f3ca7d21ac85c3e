from __future__ import annotations

import pytest

from watcher.core.backoff import backoff


@pytest.mark.parametrize(("failures", "whole"), [(0, 0.2), (1, 0.4), (3, 1.6), (10, 30.0), (5000, 30.0)])
def test_pauses_double_up_to_the_longest_however_many_failures_there_were(failures: int, whole: float) -> None:
    assert whole / 2 <= backoff(failures, 0.2, 30.0) <= whole


def test_not_all_wait_equally_long() -> None:
    assert len({backoff(2, 1.0, 60.0) for _ in range(20)}) > 1
