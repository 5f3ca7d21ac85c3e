"""Operations and bytes of steps."""

import torch

from watcher.commands.bench.engine.operation_counts import ByteCounter, OperationCounts


def test_operations_and_bytes_of_a_known_step_are_counted():
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    counts = OperationCounts()
    with counts("product"):
        a @ b
    assert counts.flops["product"] == 2 * 8 * 16 * 4
    assert counts.bytes["product"] == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_overlapping_views_count_no_more_bytes_than_their_storage():
    windows = torch.ones(100).as_strided((91, 10), (1, 1))
    counts = OperationCounts()
    with counts("pick"):
        windows[torch.tensor([3])]
    assert counts.bytes["pick"] == 4 * 100 + 8 + 4 * 10


def test_views_move_no_bytes():
    with ByteCounter() as counter:
        torch.ones(0)
        x = torch.ones(8, 4)
        before = counter.bytes
        x.t().reshape(4, 8).view(4, 2, 4)[0]
    assert counter.bytes == before
