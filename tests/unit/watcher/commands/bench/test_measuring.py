"""Measuring code: tasks, step hooks, operation counts, encoders, and the description of the machine."""

import io
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import inference.device.thread
from inference.codec import decode
from inference.codec.png import END, SIGNATURE, chunk
from inference.device.cuda_graphs import CudaGraphs
from inference.models.fake import FakeModel
from watcher.commands.bench import machine, png_filters
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.engine import tasks
from watcher.commands.bench.engine.engine_process import EngineProcessConfig
from watcher.commands.bench.engine.operation_counts import ByteCounter, OperationCounts
from watcher.commands.bench.engine.stage_times import CPU, STAGES, WALL, means, medians
from watcher.commands.bench.engine.step_hooks import wrap_steps
from watcher.commands.bench.engine.tasks import TaskRunner
from watcher.commands.bench.photos import cutout_pixels, draw_photo, fill_folder
from watcher.commands.bench.sections import encoders, roofline
from watcher.commands.bench.sections.daemon import whole_rounds
from watcher.commands.bench.sections.sweeps import cuda_graphs_table
from watcher.commands.bench.timing import Times, repeat
from watcher.commands.bench.workload import FULL, QUICK, Workload

SIZE = (96, 64)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(draw_photo(tmp_path, SIZE, seed=1))


@pytest.fixture
def runner() -> TaskRunner:
    return TaskRunner(EngineProcessConfig("cpu", 1, "fake"))


def test_a_repeat_that_sleeps_takes_wall_time_but_no_cpu_time():
    # Warm-ups first: torch's threads spin for a moment after an earlier test, and their CPU time counts as ours.
    times = repeat(lambda: time.sleep(0.05), 3, warmups=4)
    assert len(times.wall) == len(times.cpu) == 3
    assert min(times.wall) >= 0.05 and min(times.cpu) < 0.05


def test_warm_ups_do_not_count():
    calls: list[int] = []
    assert len(repeat(lambda: calls.append(1), 2, warmups=3).wall) == 2
    assert len(calls) == 5


def test_a_photo_of_a_seed_is_always_the_same_and_of_its_size(tmp_path: Path):
    first, second = draw_photo(tmp_path / "a", SIZE, 7), draw_photo(tmp_path / "b", SIZE, 7)
    assert first.read_bytes() == second.read_bytes()
    assert decode(first.read_bytes()).pixels.shape == (64, 96, 3)


def test_few_photos_become_many_files(tmp_path: Path, file: str):
    fill_folder([Path(file)], tmp_path / "many", 5)
    assert [path.read_bytes() for path in (tmp_path / "many").iterdir()] == [Path(file).read_bytes()] * 5


def test_every_stage_is_timed_and_the_original_functions_are_restored(runner: TaskRunner, file: str):
    before = dict(vars(inference.device.thread))
    runs = runner.answer("stages", {"files": [file], "batch": 2, "repeats": 3})["runs"]
    runner.close()
    assert len(runs) == 3
    assert all(set(run) == set(STAGES) for run in runs)
    assert all(wall > 0 for wall in medians(runs, WALL).values())
    assert dict(vars(inference.device.thread)) == before


def test_the_coarse_step_is_restored_and_also_runs_without_graphs(runner: TaskRunner, file: str):
    before = CudaGraphs.coarse
    runs = runner.answer("stages", {"files": [file], "batch": 2, "repeats": 1, "cuda_graphs": False})["runs"]
    runner.close()
    assert set(runs[0]) == set(STAGES) and CudaGraphs.coarse is before


def test_the_gain_of_cuda_graphs_is_a_ratio_by_batch_size():
    table = cuda_graphs_table({1: [{"coarse": (0.001, 0.0)}]}, {1: [{"coarse": (0.003, 0.0)}]})
    assert [str(cell) for cell in table.rows[0]] == ["1", "1", "3", "3"]


def test_the_coarse_stage_takes_as_long_as_the_models_delay(file: str):
    slow = TaskRunner(EngineProcessConfig("cpu", 1, "fake:delay=1"))
    runs = slow.answer("stages", {"files": [file], "batch": 2, "repeats": 2})["runs"]
    slow.close()
    assert medians(runs, WALL)["coarse"] == pytest.approx(0.5, rel=0.5)  # half of the batch's
    assert medians(runs, CPU)["coarse"] < 0.03


@pytest.mark.parametrize(("workload", "files", "rounds"), [(FULL, 16, 8), (QUICK, 4, 4), (QUICK, 3, 3), (FULL, 1, 7)])
def test_the_ceiling_is_measured_over_every_photo_equally_often(workload: Workload, files: int, rounds: int):
    assert whole_rounds(files, workload) == rounds
    assert rounds >= workload.repeats and rounds * workload.stage_batch % files == 0


def test_the_ceiling_counts_a_slow_photo_in_full():
    runs = [{"refine": (1.0, cpu)} for cpu in (0.1, 0.1, 0.7)]
    assert means(runs, CPU)["refine"] == pytest.approx(0.3) and means(runs, CPU)["coarse"] == 0
    assert medians(runs, CPU)["refine"] == 0.1


def test_single_images_are_timed_and_the_peak_is_plausible(runner: TaskRunner, file: str):
    answer = runner.answer("single", {"files": [file], "repeats": 3})
    runner.close()
    assert len(answer["wall"]) == 3
    assert 50e6 < answer["peak"] < 50e9


def test_a_batch_that_does_not_fit_is_reported(file: str):
    small = TaskRunner(EngineProcessConfig("cpu", 1, "fake:oom_above=2"))
    fitting, too_large = (
        small.answer("stream", {"files": [file], "count": 12, "batch": batch})["out_of_memory"] for batch in (2, 4)
    )
    small.close()
    assert fitting == 0 and too_large >= 1


@pytest.mark.parametrize("mode", ["pipelined", "lockstep"])
def test_one_process_serves_two_devices(runner: TaskRunner, file: str, mode: str):
    options = {"files": [file], "count": 5, "devices": ["cpu", "cpu"], "threads": 1, "batch": 4, "cores": []}
    assert runner.answer(mode, options)["seconds"] > 0


def test_lockstep_encodes_every_image(runner: TaskRunner, file: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    monkeypatch.setattr(tasks, "encode", lambda cutout: seen.append(cutout.pixels.size))
    options = {"files": [file], "count": 7, "devices": ["cpu", "cpu"], "threads": 1, "batch": 4, "cores": []}
    runner.answer("lockstep", options)
    assert seen == [96 * 64 * 4] * 7


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


def test_hooks_run_around_the_steps_of_the_device_thread(file: str):
    model, steps = FakeModel(), set[str]()

    def note(step: str) -> Times:
        steps.add(step)
        return Times()

    with wrap_steps(model, lambda step: note(step).measure()):
        engine = inference.Engine(inference.EngineOptions(), model=model)
        with engine:
            engine.submit(decode(Path(file).read_bytes())).result()
    assert steps == {"upload", "coarse", "refine", "decontaminate"}


def test_the_lower_bound_is_the_longer_of_the_two_limits():
    rates = {"matmul": 100.0, "copy": 10.0}
    assert roofline.lower_bound(50, 1, rates) == (0.5, "operations")
    assert roofline.lower_bound(50, 20, rates) == (2.0, "bytes")


def test_encoders_are_compared_on_the_same_pixels_and_checked(tmp_path: Path):
    workload = replace(QUICK, cutout_sizes=(SIZE,), cutouts=2)
    section = encoders.measure(BenchContext(workload, (), "fake", None, 1, tmp_path))
    table, by_filter = section.tables
    assert [row[0] for row in table.rows] == list(encoders.ENCODERS)
    assert {row[-1] for row in table.rows} == {"yes"}
    [base] = [row for row in table.rows if row[0] == encoders.BASE]
    assert base[2] == 1.0
    assert len(by_filter.rows) == len(png_filters.CHOICES) * len(png_filters.WINDOWS)


@pytest.mark.parametrize("number", range(5))
def test_filters_decode_as_png(number: int):
    pixels = cutout_pixels((30, 20), 3)
    header = struct.pack(">IIBBBBB", 30, 20, 8, 6, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(png_filters.filtered(pixels, number).tobytes()))
    file = io.BytesIO(SIGNATURE + chunk(b"IHDR", header) + body + END)
    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_an_encoder_that_changes_pixels_is_detected():
    found, pixels = encoders.EncoderResult(), cutout_pixels(SIZE, 1)

    def lossy(pixels: encoders.Pixels) -> bytes:
        return encoders.ENCODERS[encoders.OURS](np.ascontiguousarray(pixels // 2 * 2))

    encoders.measure_encoder(found, lossy, pixels)
    assert found.changed == 1


def test_the_processor_has_its_name_or_its_architecture():
    assert machine.cpu_name("processor\t: 0\nmodel name\t: Fast One\n\nprocessor\t: 1\n") == "Fast One"
    assert machine.cpu_name("") != ""


def test_load_of_others_is_busy_time_without_ours(monkeypatch: pytest.MonkeyPatch):
    counts = iter([(1000, 5000), (1400, 5800)])
    monkeypatch.setattr(machine, "_ticks", lambda: next(counts))
    # 400 ticks of 0.01 s busy in 4 s, of which 3 s are ours
    assert machine.SystemLoad().others(own=3.0, seconds=4.0, ticks=100) == pytest.approx(0.25)
