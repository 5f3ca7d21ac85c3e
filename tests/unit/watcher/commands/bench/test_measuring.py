"""What measures: steps within the engine, encoders, machines, tasks."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import inference.device.thread
from inference.codec import decode
from inference.codec.png import END, SIGNATURE, chunk
from inference.device.cuda_graphs import Graphs
from inference.models.fake import FakeModel
from watcher.commands.bench import machine
from watcher.commands.bench.children import ChildConfig
from watcher.commands.bench.engine import child as child_module
from watcher.commands.bench.engine import encoders, filters, limits
from watcher.commands.bench.engine.child import Child
from watcher.commands.bench.engine.probe import around_steps
from watcher.commands.bench.engine.roofline import ByteCounter, Work
from watcher.commands.bench.engine.stages import STAGES, graphs_gain, means, medians, whole_rounds
from watcher.commands.bench.pictures import cutout_pixels, photo, spread_out
from watcher.commands.bench.plan import FULL, QUICK, Plan
from watcher.commands.bench.timing import Times, repeat

SIZE = (96, 64)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(photo(tmp_path, SIZE, seed=1))


@pytest.fixture
def child() -> Child:
    return Child(ChildConfig("cpu", 1, "fake"))


def test_a_repeat_that_waits_costs_time_and_no_cpu():
    # After warm-ups: torch's threads look for work for a moment after an earlier test, and their time is ours.
    times = repeat(lambda: time.sleep(0.05), 3, warmups=4)
    assert len(times.wall) == len(times.cpu) == 3
    assert min(times.wall) >= 0.05 and min(times.cpu) < 0.05


def test_warm_ups_do_not_count():
    calls: list[int] = []
    assert len(repeat(lambda: calls.append(1), 2, warmups=3).wall) == 2
    assert len(calls) == 5


def test_a_photo_of_a_seed_is_always_the_same_and_of_its_size(tmp_path: Path):
    first, second = photo(tmp_path / "a", SIZE, 7), photo(tmp_path / "b", SIZE, 7)
    assert first.read_bytes() == second.read_bytes()
    assert decode(first.read_bytes()).pixels.shape == (64, 96, 3)


def test_few_photos_become_many_files(tmp_path: Path, file: str):
    spread_out([Path(file)], tmp_path / "many", 5)
    assert [path.read_bytes() for path in (tmp_path / "many").iterdir()] == [Path(file).read_bytes()] * 5


def test_every_stage_of_an_image_is_timed_and_the_functions_are_put_back(child: Child, file: str):
    before = dict(vars(inference.device.thread))
    runs = child.answer("stages", {"files": [file], "batch": 2, "repeats": 3})["runs"]
    child.close()
    assert len(runs) == 3
    assert all(set(run) == set(STAGES) for run in runs)
    assert all(wall > 0 for wall in medians(runs, 0).values())
    assert dict(vars(inference.device.thread)) == before


def test_the_coarse_step_is_put_back_and_runs_without_graphs_too(child: Child, file: str):
    before = Graphs.coarse
    runs = child.answer("stages", {"files": [file], "batch": 2, "repeats": 1, "cuda_graphs": False})["runs"]
    child.close()
    assert set(runs[0]) == set(STAGES) and Graphs.coarse is before


def test_what_graphs_gain_is_a_ratio_by_batch():
    table = graphs_gain({1: [{"coarse": (0.001, 0.0)}]}, {1: [{"coarse": (0.003, 0.0)}]})
    assert [str(cell) for cell in table.rows[0]] == ["1", "1", "3", "3"]


def test_a_stage_takes_as_long_as_its_model(file: str):
    slow = Child(ChildConfig("cpu", 1, "fake:delay=1"))
    runs = slow.answer("stages", {"files": [file], "batch": 2, "repeats": 2})["runs"]
    slow.close()
    assert medians(runs, 0)["coarse"] == pytest.approx(0.5, rel=0.5)  # half of the batch's
    assert medians(runs, 1)["coarse"] < 0.03


@pytest.mark.parametrize(("plan", "files", "rounds"), [(FULL, 16, 8), (QUICK, 4, 4), (QUICK, 3, 3), (FULL, 1, 7)])
def test_the_ceiling_is_measured_over_every_photo_equally_often(plan: Plan, files: int, rounds: int):
    assert whole_rounds(files, plan) == rounds
    assert rounds >= plan.repeats and rounds * plan.stage_batch % files == 0


def test_the_ceiling_counts_a_photo_that_takes_long_in_full():
    runs = [{"refine": (1.0, cpu)} for cpu in (0.1, 0.1, 0.7)]
    assert means(runs, 1)["refine"] == pytest.approx(0.3) and means(runs, 1)["coarse"] == 0
    assert medians(runs, 1)["refine"] == 0.1


def test_single_images_are_timed_and_the_peak_is_plausible(child: Child, file: str):
    answer = child.answer("single", {"files": [file], "repeats": 3})
    child.close()
    assert len(answer["wall"]) == 3
    assert 50e6 < answer["peak"] < 50e9


def test_a_batch_that_does_not_fit_is_told(file: str):
    small = Child(ChildConfig("cpu", 1, "fake:oom_above=2"))
    fitting, too_large = (
        small.answer("stream", {"files": [file], "count": 12, "batch": batch})["out_of_memory"] for batch in (2, 4)
    )
    small.close()
    assert fitting == 0 and too_large >= 1


@pytest.mark.parametrize("way", ["together", "lockstep"])
def test_one_process_serves_two_devices(child: Child, file: str, way: str):
    options = {"files": [file], "count": 5, "devices": ["cpu", "cpu"], "threads": 1, "batch": 4, "cores": []}
    assert child.answer(way, options)["seconds"] > 0


def test_lockstep_leaves_no_image_out(child: Child, file: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    monkeypatch.setattr(child_module, "encode", lambda cutout: seen.append(cutout.pixels.size))
    options = {"files": [file], "count": 7, "devices": ["cpu", "cpu"], "threads": 1, "batch": 4, "cores": []}
    child.answer("lockstep", options)
    assert seen == [96 * 64 * 4] * 7


def test_operations_and_bytes_of_a_known_step_are_counted():
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    work = Work()
    with work("product"):
        a @ b
    assert work.flops["product"] == 2 * 8 * 16 * 4
    assert work.bytes["product"] == 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_views_whose_parts_overlap_are_no_larger_than_what_they_look_at():
    windows = torch.ones(100).as_strided((91, 10), (1, 1))
    work = Work()
    with work("pick"):
        windows[torch.tensor([3])]
    assert work.bytes["pick"] == 4 * 100 + 8 + 4 * 10


def test_looking_at_memory_in_another_way_moves_no_bytes():
    with ByteCounter() as counter:
        torch.ones(0)
        x = torch.ones(8, 4)
        before = counter.bytes
        x.t().reshape(4, 8).view(4, 2, 4)[0]
    assert counter.bytes == before


def test_steps_are_counted_where_the_device_thread_makes_them(file: str):
    model, steps = FakeModel(), set[str]()

    def note(step: str) -> Times:
        steps.add(step)
        return Times()

    with around_steps(model, lambda step: note(step).one()):
        engine = inference.Engine(inference.EngineOptions(), model=model)
        with engine:
            engine.submit(decode(Path(file).read_bytes())).result()
    assert steps == {"upload", "coarse", "refine", "decontaminate"}


def test_the_bound_is_the_longer_of_the_two_limits():
    rates = {"matmul": 100.0, "copy": 10.0}
    assert limits.bound(50, 1, rates) == (0.5, "operations")
    assert limits.bound(50, 20, rates) == (2.0, "bytes")


def test_encoders_are_compared_on_the_same_pixels_and_checked():
    section = encoders.measure([SIZE], cutout_pixels, 2, lambda text: None)
    table, candidates = section.tables
    assert [row[0] for row in table.rows] == list(encoders.ENCODERS)
    assert {row[-1] for row in table.rows} == {"yes"}
    [base] = [row for row in table.rows if row[0] == encoders.BASE]
    assert base[2] == 1.0
    assert len(candidates.rows) == len(filters.CHOICES) * len(filters.WINDOWS)


@pytest.mark.parametrize("number", range(5))
def test_filters_are_those_of_png(number: int):
    pixels = cutout_pixels((30, 20), 3)
    header = struct.pack(">IIBBBBB", 30, 20, 8, 6, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(filters.filtered(pixels, number).tobytes()))
    file = io.BytesIO(SIGNATURE + chunk(b"IHDR", header) + body + END)
    assert np.array_equal(np.asarray(Image.open(file)), pixels)


def test_an_encoder_that_changes_a_pixel_is_found_out():
    found, pixels = encoders.Measured(), cutout_pixels(SIZE, 1)

    def careless(pixels: encoders.Pixels) -> bytes:
        return encoders.ENCODERS[encoders.OURS](np.ascontiguousarray(pixels // 2 * 2))

    encoders.try_one(found, careless, pixels)
    assert found.wrong == 1


def test_the_processors_name_is_read_where_there_is_one():
    assert machine.cpu_name("processor\t: 0\nmodel name\t: Fast One\n\nprocessor\t: 1\n") == "Fast One"
    assert machine.cpu_name("") != ""


def test_others_are_what_is_busy_beyond_us(monkeypatch: pytest.MonkeyPatch):
    counts = iter([(1000, 5000), (1400, 5800)])
    monkeypatch.setattr(machine, "_ticks", lambda: next(counts))
    # 400 ticks of 0.01 s busy in 4 s, of which 3 s are ours
    assert machine.Load().others(own=3.0, seconds=4.0, ticks=100) == pytest.approx(0.25)
