"""The arena of pinned memory: parts never overlap, and all of it is freed again."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.device.pinned_memory import ALIGNMENT, Arena, allocate_arena


def arena(parts: int) -> Arena:
    return Arena(torch.zeros(parts * ALIGNMENT, dtype=torch.uint8))


def allocated(arena: Arena, *shape: int) -> NDArray[np.uint8]:
    found = arena.allocate(shape)
    assert found is not None
    return found


def test_an_allocation_has_the_requested_shape_and_is_writable():
    part = allocated(arena(4), 30, 40, 4)
    part[:] = 9
    assert part.shape == (30, 40, 4) and part.dtype == np.uint8 and part.sum() == 9 * part.size
    assert part.view("<u4").shape == (30, 40, 1)


def test_a_full_arena_allocates_nothing_until_something_is_freed():
    memory = arena(2)
    first, second = allocated(memory, ALIGNMENT), allocated(memory, ALIGNMENT)
    assert memory.allocate((1,)) is None
    del first
    assert memory.allocate((ALIGNMENT,)) is not None
    del second
    assert memory.allocate((2 * ALIGNMENT,)) is not None, "adjacent free parts are merged"


def test_an_allocation_is_not_freed_while_a_view_of_it_exists():
    memory = arena(1)
    views = [allocated(memory, 64, 64)[10:][::2].T]
    assert memory.allocate((1,)) is None
    views = [torch.from_numpy(views[0])]  # type: ignore[list-item]
    assert memory.allocate((1,)) is None
    views = [memoryview(views[0].numpy())]  # type: ignore[list-item,attr-defined]
    assert memory.allocate((1,)) is None
    views.clear()
    assert memory.allocate((ALIGNMENT,)) is not None


def test_a_part_can_be_freed_by_the_garbage_collector_during_an_allocation(monkeypatch: pytest.MonkeyPatch):
    memory = arena(8)
    ring: list[object] = [allocated(memory, ALIGNMENT)]
    ring.append(ring)
    del ring
    monkeypatch.setattr("inference.device.pinned_memory.coalesce", lambda parts: (gc.collect(), sorted(parts))[1])
    assert memory.allocate((ALIGNMENT,)) is not None  # the collector runs inside, while the lock is held


@given(st.lists(st.tuples(st.integers(1, 3 * ALIGNMENT), st.booleans(), st.integers(0, 9)), max_size=60))
def test_parts_never_overlap_and_all_are_freed(steps: list[tuple[int, bool, int]]):
    memory, held = arena(12), list[NDArray[np.uint8]]()
    for number, (size, free, which) in enumerate(steps):
        if free and held:
            held.pop(which % len(held))
        elif (part := memory.allocate((size,))) is not None:
            part[:] = number
            held.append(part)
        assert all((part == part[0]).all() for part in held)
    held.clear()
    part = None
    assert memory.allocate((12 * ALIGNMENT,)) is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_can_be_pinned_and_that_is_not_an_error():
    assert allocate_arena() is None
