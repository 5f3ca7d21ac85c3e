"""What a pipeline could do at best."""

import pytest

from watcher.commands.bench.engine.ceiling import Ceiling, ceiling, stage_limits, steady_rate


def test_on_a_cpu_the_cores_share_all_stages():
    # 10 + 30 ms of CPU time on two cores: 50 images a second
    assert ceiling({"decode": 0.010, "encode": 0.030}, cores=2) == Ceiling(50.0, "cores")


def test_a_card_that_is_slower_than_the_cores_is_the_limit():
    assert ceiling({"decode": 0.010}, cores=2, device=0.020) == Ceiling(50.0, "device")


def test_more_cards_move_the_limit_to_the_cores():
    assert ceiling({"decode": 0.010}, cores=2, device=0.020, devices=8) == Ceiling(200.0, "cores")


def test_each_stage_alone_has_all_the_cores():
    assert stage_limits({"decode": 0.010, "read": 0.0}, cores=2) == {"decode": 200.0, "read": float("inf")}


def test_the_steady_rate_is_that_while_every_device_has_work():
    # Given a device that begins late and one that ends late, both with an image every 0.1 s
    ends = {"a": [index / 10 for index in range(20)], "b": [1 + index / 10 for index in range(20)]}
    # Then both together do 20 images a second, whatever happened outside of their common time
    assert steady_rate(ends) == pytest.approx(20.0)


def test_too_little_common_time_is_no_measurement():
    with pytest.raises(ValueError, match="give them more images"):
        steady_rate({"a": [0.0, 0.1, 0.2], "b": [5.0, 5.1, 5.2]})
