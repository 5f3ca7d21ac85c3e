"""Throughput in steady state."""

from dataclasses import replace
from pathlib import Path

import pytest

from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.daemon.run_once import OnceOptions, OnceRun
from watcher.commands.bench.daemon.steady_state import steady_rate
from watcher.commands.bench.device_groups import device_groups
from watcher.commands.bench.process_monitor import CommandFailed, CommandRecord
from watcher.commands.bench.sections import simulated
from watcher.commands.bench.workload import QUICK


def test_the_steady_rate_is_measured_while_every_device_has_work():
    # Given a device that begins late and one that ends late, both with an image every 0.1 s
    finished = {"a": [index / 10 for index in range(20)], "b": [1 + index / 10 for index in range(20)]}
    # Then both together do 20 images a second, whatever happened outside their common interval
    assert steady_rate(finished) == pytest.approx(20.0)


def test_too_little_common_time_raises():
    with pytest.raises(ValueError, match="give them more images"):
        steady_rate({"a": [0.0, 0.1, 0.2], "b": [5.0, 5.1, 5.2]})


def test_workers_with_too_little_time_in_common_get_more_images(tmp_path: Path):
    # Given a second worker that starts ten images late
    seen: list[int] = []

    def run(source: Path, options: OnceOptions) -> OnceRun:
        images = sum(1 for _ in source.iterdir())
        seen.append(images)
        workers = int(options.devices.partition(":")[2])
        late = 10 * (workers - 1)
        each = (images - late) // workers
        starts = [0.0] * (workers == 1) or [0.0, 1.0]
        numbers = [each] if workers == 1 else [each + late, each]
        lines = [
            (start + (index + 1) / 10, {"event": "image", "device": f"cpu:{device}"})
            for device, (start, number) in enumerate(zip(starts, numbers, strict=True))
            for index in range(number)
        ]
        return OnceRun(
            images, 1.0, 1.0, 0.1, 0, CommandRecord(events=lines, samples=[(0.0, 0.0, 0.0), (9.0, 18.0, 0.9)])
        )

    workload = replace(QUICK, simulated=(1, 2), simulated_images=8)
    section = simulated.measure(BenchContext(workload, device_groups("cpu", 1), "fake", None, 1, tmp_path), run)
    # Then the run is repeated with more images until they have
    assert seen == [8, 16, 32]
    assert [row[1] for row in section.tables[0].rows] == [pytest.approx(10.0), pytest.approx(20.0)]
    # And the CPU time is of the same images: 2 cores, busy all the time
    assert [row[-1] for row in section.tables[0].rows] == [pytest.approx(200.0), pytest.approx(100.0)]


def test_workers_that_never_have_time_in_common_fail_the_measurement(tmp_path: Path):
    def run(source: Path, options: OnceOptions) -> OnceRun:
        lines = [(index / 10, {"event": "image", "device": "cpu:0"}) for index in range(20)]
        return OnceRun(20, 1.0, 1.0, 0.1, 0, CommandRecord(events=lines))

    workload = replace(QUICK, simulated=(2,), simulated_images=1)
    with pytest.raises(CommandFailed, match="1 workers were ready too late"):
        simulated.measure(BenchContext(workload, device_groups("cpu", 1), "fake", None, 1, tmp_path), run)
