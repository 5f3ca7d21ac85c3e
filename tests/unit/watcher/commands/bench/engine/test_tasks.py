"""Measuring tasks, and the hooks around the steps of the device thread."""

from pathlib import Path

import pytest

import inference.device.thread
from inference.codec import decode
from inference.device.cuda_graphs import CudaGraphs
from inference.models.fake import FakeModel
from watcher.commands.bench.engine import tasks
from watcher.commands.bench.engine.engine_process import EngineProcessConfig
from watcher.commands.bench.engine.stage_times import CPU, STAGES, WALL, medians
from watcher.commands.bench.engine.step_hooks import wrap_steps
from watcher.commands.bench.engine.tasks import TaskRunner
from watcher.commands.bench.photos import draw_photo
from watcher.commands.bench.timing import Times

SIZE = (96, 64)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(draw_photo(tmp_path, SIZE, seed=1))


@pytest.fixture
def runner() -> TaskRunner:
    return TaskRunner(EngineProcessConfig("cpu", 1, "fake"))


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


def test_the_coarse_stage_takes_as_long_as_the_models_delay(file: str):
    slow = TaskRunner(EngineProcessConfig("cpu", 1, "fake:delay=1"))
    runs = slow.answer("stages", {"files": [file], "batch": 2, "repeats": 2})["runs"]
    slow.close()
    assert medians(runs, WALL)["coarse"] == pytest.approx(0.5, rel=0.5)  # half of the batch's
    assert medians(runs, CPU)["coarse"] < 0.03


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
