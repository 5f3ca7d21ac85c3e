"""Costs of stages, from which the ceiling is computed; the gain of CUDA graphs; the roofline."""

import pytest

from watcher.commands.bench.daemon.ceiling import Ceiling
from watcher.commands.bench.daemon.run_once import OnceRun
from watcher.commands.bench.daemon.steady_state import SteadyState
from watcher.commands.bench.engine.stage_times import CPU, means, medians
from watcher.commands.bench.process_monitor import CommandRecord
from watcher.commands.bench.sections import roofline
from watcher.commands.bench.sections.daemon import Round, middle_round, whole_rounds
from watcher.commands.bench.sections.sweeps import cuda_graphs_table
from watcher.commands.bench.workload import FULL, QUICK, Workload


def test_the_gain_of_cuda_graphs_is_a_ratio_by_batch_size():
    table = cuda_graphs_table({1: [{"coarse": (0.001, 0.0)}]}, {1: [{"coarse": (0.003, 0.0)}]})
    assert [str(cell) for cell in table.rows[0]] == ["1", "1", "3", "3"]


@pytest.mark.parametrize(("workload", "files", "rounds"), [(FULL, 16, 8), (QUICK, 4, 4), (QUICK, 3, 3), (FULL, 1, 7)])
def test_the_ceiling_is_measured_over_every_photo_equally_often(workload: Workload, files: int, rounds: int):
    assert whole_rounds(files, workload) == rounds
    assert rounds >= workload.repeats and rounds * workload.stage_batch % files == 0


def measured(rate: float, ceiling: float) -> Round:
    """A round in which the daemon had this rate below this ceiling."""
    state = SteadyState(OnceRun(300, 300 / rate, 15.0, 0.1, 0, CommandRecord()), rate, cpu=0.05, supervisor=0.0)
    return Round({"coarse": 2 / ceiling}, 0.0, {"cpu:2": Ceiling(ceiling, "cores")}, {"cpu:2": state})


def test_the_report_shows_the_round_with_the_median_share_not_the_median_rate():
    rounds = [measured(30, 40), measured(27, 30), measured(20, 40)]
    assert middle_round(rounds, "cpu:2").share("cpu:2") == 75
    assert middle_round(rounds[:1], "cpu:2") is rounds[0]
    assert all(workload.daemon_rounds % 2 for workload in (FULL, QUICK))


def test_the_ceiling_counts_a_slow_photo_in_full():
    runs = [{"refine": (1.0, cpu)} for cpu in (0.1, 0.1, 0.7)]
    assert means(runs, CPU)["refine"] == pytest.approx(0.3) and means(runs, CPU)["coarse"] == 0
    assert medians(runs, CPU)["refine"] == 0.1


def test_the_lower_bound_is_the_longer_of_the_two_limits():
    rates = {"matmul": 100.0, "copy": 10.0}
    assert roofline.lower_bound(50, 1, rates) == (0.5, "operations")
    assert roofline.lower_bound(50, 20, rates) == (2.0, "bytes")
