"""The throughput ceiling of a pipeline."""

from watcher.commands.bench.daemon.ceiling import Ceiling, stage_limits, throughput_ceiling


def test_on_a_cpu_the_cores_share_all_stages():
    # 10 + 30 ms of CPU time on two cores: 50 images a second
    assert throughput_ceiling({"decode": 0.010, "encode": 0.030}, cores=2) == Ceiling(50.0, "cores")


def test_a_gpu_that_is_slower_than_the_cores_is_the_limit():
    assert throughput_ceiling({"decode": 0.010}, cores=2, device=0.020) == Ceiling(50.0, "device")


def test_more_gpus_move_the_limit_to_the_cores():
    assert throughput_ceiling({"decode": 0.010}, cores=2, device=0.020, devices=8) == Ceiling(200.0, "cores")


def test_each_stage_alone_has_all_the_cores():
    assert stage_limits({"decode": 0.010, "read": 0.0}, cores=2) == {"decode": 200.0, "read": float("inf")}
