"""How requests to SQS are filled."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.aws.clients import AwsOptions
from watcher.core.counts import Counts
from watcher.queues.brokers.sqs import BATCH, BATCH_BYTES, batches, with_short_timeouts
from watcher.queues.lease_extender import LeaseExtender
from watcher.testing import MemoryBroker


@given(st.lists(st.integers(min_value=0, max_value=BATCH_BYTES), max_size=40))
def test_batches_are_within_the_limits_and_no_smaller_than_they_must(sizes: list[int]) -> None:
    bodies = [bytes(size) for size in sizes]
    found = list(batches(bodies))
    assert [body for batch in found for body in batch] == bodies
    for batch, following in itertools.pairwise(found):
        assert len(batch) == BATCH or sum(map(len, batch)) + len(following[0]) > BATCH_BYTES
    for batch in found:
        assert 1 <= len(batch) <= BATCH
        assert sum(map(len, batch)) <= BATCH_BYTES


def test_a_body_that_is_too_long_goes_by_itself() -> None:
    """SQS says what is wrong with it, and what is right with the others."""
    long = bytes(BATCH_BYTES + 1)
    assert list(batches([b"a", long, b"b"])) == [[b"a"], [long], [b"b"]]


@pytest.mark.parametrize("visibility", [20.0, 60.0, 600.0])
def test_an_extension_that_times_out_leaves_time_for_another(visibility: float) -> None:
    extender = LeaseExtender(MemoryBroker(visibility), list, lambda held: False, Counts())
    extender.close()
    timed = with_short_timeouts(AwsOptions(), visibility)
    stalled = timed.attempts * max(timed.read_timeout, timed.connect_timeout)
    assert extender.interval + stalled + extender.interval / 5 < visibility


def test_shorter_timeouts_are_kept() -> None:
    timed = with_short_timeouts(AwsOptions(connect_timeout=0.5, attempts=1), 60.0)
    assert (timed.connect_timeout, timed.attempts) == (0.5, 1)
