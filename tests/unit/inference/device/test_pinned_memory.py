"""Memory that is lent in parts: nobody's part is anybody else's, and all of it comes back."""

import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.device.pinned_memory import STEP, Arena, pinned_arena


def arena(parts: int) -> Arena:
    return Arena(torch.zeros(parts * STEP, dtype=torch.uint8))


def lent(arena: Arena, *shape: int) -> NDArray[np.uint8]:
    found = arena.lend(shape)
    assert found is not None
    return found


def test_a_part_has_the_shape_that_was_asked_for_and_can_be_written():
    part = lent(arena(4), 30, 40, 4)
    part[:] = 9
    assert part.shape == (30, 40, 4) and part.dtype == np.uint8 and part.sum() == 9 * part.size
    assert part.view("<u4").shape == (30, 40, 1)


def test_where_there_is_no_room_nothing_is_lent_until_something_comes_back():
    memory = arena(2)
    first, second = lent(memory, STEP), lent(memory, STEP)
    assert memory.lend((1,)) is None
    del first
    assert memory.lend((STEP,)) is not None
    del second
    assert memory.lend((2 * STEP,)) is not None, "neighbours that came back are one part again"


def test_a_part_does_not_come_back_while_anything_looks_at_it():
    memory = arena(1)
    views = [lent(memory, 64, 64)[10:][::2].T]
    assert memory.lend((1,)) is None
    views = [torch.from_numpy(views[0])]  # type: ignore[list-item]
    assert memory.lend((1,)) is None
    views = [memoryview(views[0].numpy())]  # type: ignore[list-item,attr-defined]
    assert memory.lend((1,)) is None
    views.clear()
    assert memory.lend((STEP,)) is not None


def test_a_part_that_comes_back_while_another_is_lent_harms_nobody(monkeypatch: pytest.MonkeyPatch):
    memory = arena(8)
    ring: list[object] = [lent(memory, STEP)]
    ring.append(ring)
    del ring
    monkeypatch.setattr("inference.device.pinned_memory.joined", lambda parts: (gc.collect(), sorted(parts))[1])
    assert memory.lend((STEP,)) is not None  # the collector runs within, with the lock held


@given(st.lists(st.tuples(st.integers(1, 3 * STEP), st.booleans(), st.integers(0, 9)), max_size=60))
def test_parts_never_overlap_and_all_come_back(steps: list[tuple[int, bool, int]]):
    memory, held = arena(12), list[NDArray[np.uint8]]()
    for number, (size, gives_back, which) in enumerate(steps):
        if gives_back and held:
            held.pop(which % len(held))
        elif (part := memory.lend((size,))) is not None:
            part[:] = number
            held.append(part)
        assert all((part == part[0]).all() for part in held)
    held.clear()
    part = None
    assert memory.lend((12 * STEP,)) is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_can_be_pinned_and_that_is_no_error():
    assert pinned_arena() is None
