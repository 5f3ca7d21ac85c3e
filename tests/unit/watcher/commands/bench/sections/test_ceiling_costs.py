"""Costs of stages, from which the ceiling is computed; the gain of CUDA graphs; the roofline."""

import pytest

from watcher.commands.bench.engine.stage_times import CPU, means, medians
from watcher.commands.bench.sections import roofline
from watcher.commands.bench.sections.daemon import whole_rounds
from watcher.commands.bench.sections.sweeps import cuda_graphs_table
from watcher.commands.bench.workload import FULL, QUICK, Workload


def test_the_gain_of_cuda_graphs_is_a_ratio_by_batch_size():
    table = cuda_graphs_table({1: [{"coarse": (0.001, 0.0)}]}, {1: [{"coarse": (0.003, 0.0)}]})
    assert [str(cell) for cell in table.rows[0]] == ["1", "1", "3", "3"]


@pytest.mark.parametrize(("workload", "files", "rounds"), [(FULL, 16, 8), (QUICK, 4, 4), (QUICK, 3, 3), (FULL, 1, 7)])
def test_the_ceiling_is_measured_over_every_photo_equally_often(workload: Workload, files: int, rounds: int):
    assert whole_rounds(files, workload) == rounds
    assert rounds >= workload.repeats and rounds * workload.stage_batch % files == 0


def test_the_ceiling_counts_a_slow_photo_in_full():
    runs = [{"refine": (1.0, cpu)} for cpu in (0.1, 0.1, 0.7)]
    assert means(runs, CPU)["refine"] == pytest.approx(0.3) and means(runs, CPU)["coarse"] == 0
    assert medians(runs, CPU)["refine"] == 0.1


def test_the_lower_bound_is_the_longer_of_the_two_limits():
    rates = {"matmul": 100.0, "copy": 10.0}
    assert roofline.lower_bound(50, 1, rates) == (0.5, "operations")
    assert roofline.lower_bound(50, 20, rates) == (2.0, "bytes")
