"""Timing of repeats."""

import time

from watcher.commands.bench.timing import repeat


def test_a_repeat_that_sleeps_takes_wall_time_but_no_cpu_time():
    # Warm-ups first: torch's threads spin for a moment after an earlier test, and their CPU time counts as ours.
    times = repeat(lambda: time.sleep(0.05), 3, warmups=4)
    assert len(times.wall) == len(times.cpu) == 3
    assert min(times.wall) >= 0.05 and min(times.cpu) < 0.05


def test_warm_ups_do_not_count():
    calls: list[int] = []
    assert len(repeat(lambda: calls.append(1), 2, warmups=3).wall) == 2
    assert len(calls) == 5
