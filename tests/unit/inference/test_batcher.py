"""Micro-batches, and why they are closed: full, idle, timeout, closed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.batcher import Batcher, BatchLimits
from inference.errors import EngineClosed
from tests.equipment.support import Clock


def batcher(size: int = 4, pixels: int = 1000, max_wait: float = 5.0, clock: Clock | None = None) -> Batcher[int]:
    return Batcher(BatchLimits(size, pixels, max_wait), clock or Clock(100.0))


def taken(b: Batcher[int]) -> tuple[list[int], str]:
    batch = b.take()
    assert batch is not None
    return batch.items, batch.trigger


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_take_does_not_wait_when_nothing_is_announced() -> None:
    b = batcher()
    b.put(1, "a", 1)
    b.put(2, "a", 1)
    assert taken(b) == ([1, 2], "idle")


def test_a_full_batch_does_not_wait() -> None:
    b = batcher(size=2)
    b.announce(5)
    for item in (1, 2, 3):
        b.put(item, "a", 1)
    assert taken(b) == ([1, 2], "full")
    b.announce(-5)
    assert taken(b) == ([3], "idle")


def test_pixels_bound_a_batch_but_one_picture_always_fits() -> None:
    b = batcher(pixels=100)
    b.put(1, "a", 5000)
    b.put(2, "a", 60)
    b.put(3, "a", 60)
    assert [taken(b) for _ in range(3)] == [([1], "full"), ([2], "full"), ([3], "idle")]


def test_a_batch_holds_one_shape_and_the_oldest_goes_first() -> None:
    clock = Clock(100.0)
    b = batcher(clock=clock)
    for item, shape in ((1, "a"), (2, "b"), (3, "a")):
        clock.now += 1
        b.put(item, shape, 1)
    assert taken(b) == ([1, 3], "idle")
    assert taken(b) == ([2], "idle")


def test_a_short_batch_waits_for_announced_items(pool: ThreadPoolExecutor) -> None:
    b = batcher(size=2)
    b.announce(1)
    b.put(1, "a", 1)
    waiting = pool.submit(b.take)
    b.put(2, "a", 1)
    batch = waiting.result(60)
    assert batch is not None
    assert (batch.items, batch.trigger) == ([1, 2], "full")


def test_it_stops_waiting_when_the_announcement_is_withdrawn(pool: ThreadPoolExecutor) -> None:
    b = batcher()
    b.announce(1)
    b.put(1, "a", 1)
    waiting = pool.submit(b.take)
    b.announce(-1)
    batch = waiting.result(60)
    assert batch is not None
    assert batch.trigger == "idle"


def test_the_oldest_item_waits_no_longer_than_max_wait() -> None:
    clock = Clock(100.0)
    b = batcher(max_wait=5, clock=clock)
    b.announce(1)
    b.put(1, "a", 1)
    clock.now += 6
    assert taken(b) == ([1], "timeout")


def test_after_close_take_returns_the_rest_then_none() -> None:
    b = batcher()
    b.announce(1)
    b.put(1, "a", 1)
    b.close()
    assert taken(b) == ([1], "closed")
    assert b.take() is None
    with pytest.raises(EngineClosed):
        b.put(2, "a", 1)


def test_drain_returns_all_pending_items() -> None:
    b = batcher()
    b.put(1, "a", 1)
    b.put(2, "b", 1)
    assert sorted(b.drain()) == [1, 2]
    assert b.take() is None


def test_take_wakes_up_when_closed(pool: ThreadPoolExecutor) -> None:
    b = batcher()
    waiting = pool.submit(b.take)
    b.close()
    assert waiting.result(60) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500)), max_size=40), st.integers(1, 6))
def test_every_item_is_taken_once_within_the_limits(items: list[tuple[str, int]], size: int) -> None:
    b = batcher(size=size, pixels=600)
    for index, (shape, pixels) in enumerate(items):
        b.put(index, shape, pixels)
    b.close()
    out: list[int] = []
    while (batch := b.take()) is not None:
        assert len({items[i][0] for i in batch.items}) == 1
        assert len(batch.items) <= size
        assert len(batch.items) == 1 or sum(items[i][1] for i in batch.items) <= 600
        out += batch.items
    assert sorted(out) == list(range(len(items)))


def test_many_threads_put_one_takes() -> None:
    b: Batcher[int] = Batcher(BatchLimits(7, 10_000, 0.001))

    def put_hundred(start: int) -> None:
        for i in range(start, start + 100):
            b.put(i, i % 3, 1)

    threads = [threading.Thread(target=put_hundred, args=(start,)) for start in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    got: list[int] = []
    while len(got) < 400:
        batch = b.take()
        assert batch is not None
        got += batch.items
    assert sorted(got) == list(range(400))
