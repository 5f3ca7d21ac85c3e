"""Section `onnx`: which methods are measured, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.models.registry import resolve
from tests.equipment import onnx_files
from watcher.commands.bench.engine.onnx_methods import BINDING, MAIN_MEMORY, OPENED, measure_methods
from watcher.commands.bench.sections.onnx import findings, methods_table


@pytest.mark.parametrize(("batch", "methods"), [(1, [MAIN_MEMORY, BINDING, OPENED]), ("b", [MAIN_MEMORY, BINDING])])
def test_a_fixed_batch_is_measured_opened_too(tmp_path: Path, batch: int | str, methods: list[str]) -> None:
    entry = resolve(str(onnx_files.u2net(tmp_path / "a.onnx", batch=batch)))
    found = measure_methods(entry, torch.device("cpu"), (1, 2), repeats=1)
    assert list(found) == methods
    assert all(set(times) == {"1", "2"} and min(map(min, times.values())) > 0 for times in found.values())


def test_the_largest_batch_is_compared_with_arrays_in_main_memory() -> None:
    found = {MAIN_MEMORY: {"1": [1.0], "4": [2.0]}, BINDING: {"1": [0.5], "4": [0.5]}}
    assert findings((1, 4), found) == (f"Batches of 4: {BINDING} is 4.00 times as fast as {MAIN_MEMORY}.",)
    assert [row[0] for row in methods_table((1, 4), found).rows] == [1, 4]
