"""Tests on a real GPU, for what stand-ins cannot show. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference import Engine, EngineOptions, Picture
from inference.device.cuda_graphs import CudaCapture, CudaGraphs, varied_batch
from inference.device.hardware import CudaHardware
from inference.device.pinned_memory import allocate_arena
from inference.device.transfers import CudaCopyStreams, StreamedTransfers
from inference.models.base import MattingModel
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from inference.models.native import CVUNetModel
from inference.models.registry import resolve
from inference.synthetic import render_sample
from watcher.commands.bench.engine.engine_process import EngineProcessConfig
from watcher.commands.bench.engine.stage_times import medians
from watcher.commands.bench.engine.tasks import TaskRunner
from watcher.commands.bench.photos import draw_photo

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
GPU = torch.device("cuda", 0)
SIZES = [(480, 640), (600, 600), (720, 1280), (1080, 1920), (97, 53), (2100, 40)]


def pictures(count: int) -> list[Picture]:
    """Pictures of all sizes in turn."""
    return [drawn(number % len(SIZES)) for number in range(count)]


@cache
def drawn(index: int) -> Picture:
    """A drawn picture of that size; too narrow ones are cropped from larger ones."""
    height, width = SIZES[index]
    sample = render_sample(np.random.default_rng([31, index]), max(height, 256), max(width, 256))
    return Picture(np.ascontiguousarray(sample.image[:height, :width]))


def alpha(engine: Engine, picture: Picture) -> NDArray[np.int64]:
    """The alpha of a picture that is alone in its batch."""
    return engine.submit(picture).result().pixels[..., 3].astype(np.int64)


@pytest.fixture(scope="module")
def without_graphs() -> Iterator[Engine]:
    """The shipped network without CUDA graphs."""
    with Engine(EngineOptions(device="cuda", cuda_graphs=False)) as engine:
        yield engine


@pytest.fixture(scope="module")
def with_graphs() -> Iterator[Engine]:
    """The shipped network with default options."""
    with Engine(EngineOptions(device="cuda")) as engine:
        yield engine


def test_nothing_slows_the_gpu_down(with_graphs: Engine) -> None:
    assert with_graphs.slowdowns == ()
    assert len(with_graphs._thread.graphs) > 0


def test_the_batch_limit_leaves_memory_free(with_graphs: Engine) -> None:
    free, total = torch.cuda.mem_get_info(GPU)
    assert 1 <= with_graphs.batch_limit <= 64 and free > total * 0.05


def test_graphs_do_not_change_mattes_alone_or_in_a_batch(without_graphs: Engine, with_graphs: Engine) -> None:
    given = pictures(4 * len(SIZES))
    without, alone = ([alpha(engine, picture) for picture in given] for engine in (without_graphs, with_graphs))
    together = [future.result().pixels[..., 3] for future in [with_graphs.submit(picture) for picture in given]]
    for wanted, one, other in zip(without, alone, together, strict=True):
        assert np.abs(wanted - one).max() <= 1
        assert np.abs(wanted - other).mean() < 0.1  # batches of other sizes use other kernels, which round differently


def test_cut_outs_are_not_overwritten_by_hundreds_of_later_ones(with_graphs: Engine) -> None:
    given = pictures(len(SIZES))
    first = [with_graphs.submit(picture).result().pixels for picture in given]
    before = [pixels.copy() for pixels in first]
    wait([with_graphs.submit(picture) for picture in pictures(300)])
    assert all(map(np.array_equal, first, before))


def test_the_same_picture_gives_the_same_cut_out_under_load(with_graphs: Engine) -> None:
    """A copy that is read too early, or memory that is reused too early, would show another picture's pixels."""
    given = pictures(len(SIZES))
    wanted = [alpha(with_graphs, picture) for picture in given]
    futures = [with_graphs.submit(picture) for picture in given * 40]
    for number, future in enumerate(futures):
        found = future.result().pixels
        assert np.abs(found[..., 3] - wanted[number % len(given)]).mean() < 0.1
        opaque = found[..., 3] == 255
        assert np.array_equal(found[opaque][:, :3], given[number % len(given)].pixels[opaque])


def test_transfers_through_pinned_memory_and_without_it_keep_every_byte() -> None:
    arena = allocate_arena()
    assert arena is not None
    transfers = StreamedTransfers(GPU, arena, CudaCopyStreams(GPU))
    rng = np.random.default_rng(5)
    for size in [*SIZES, (6000, 9000)]:
        given = Picture(rng.integers(0, 256, (*size, 3), np.uint8))
        staged = transfers.stage(given)
        pixels = torch.from_numpy(staged.pixels)
        assert pixels.is_pinned() and staged is not given
        there = transfers.upload(pixels)
        download = transfers.download(torch.cat((there, there[..., :1]), 2))
        del there
        torch.full((*size, 4), 9, dtype=torch.uint8, device=GPU)  # would reuse the memory if it were freed too early
        download.wait()
        assert download.done() and np.array_equal(download.pixels[..., :3], given.pixels)
        transfers.finish_uploads()


def test_graphs_compute_what_the_network_computes() -> None:
    model = CVUNetModel(resolve("nano"))
    torch.cuda.set_device(GPU)
    model.load(GPU)
    graphs, shapes = CudaGraphs(model), [(count, size) for size in model.canvases() for count in (4, 1)]
    batches = [varied_batch(count, size, model.dtype, GPU) for count, size in shapes]
    assert graphs.capture(CudaCapture(GPU), batches) == ""
    with torch.inference_mode():
        for batch in [*batches, *(1 - batch for batch in batches)]:
            for one, other in zip(model.coarse(batch), graphs.coarse(batch), strict=True):
                torch.testing.assert_close(one, other, atol=1 / 255, rtol=1 / 255)


def test_when_memory_runs_out_batches_become_smaller() -> None:
    """With real memory: the model allocates a tenth of the GPU for each picture."""
    each = torch.cuda.mem_get_info(GPU)[1] // 10

    class Greedy(FakeModel):
        def coarse(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            torch.empty(len(batch) * each, dtype=torch.uint8, device=batch.device)
            return tuple(super().coarse(batch))

    with Engine(EngineOptions(device="cuda"), model=Greedy()) as engine:
        assert 1 <= engine.batch_limit <= 8
        wait([engine.submit(picture) for picture in pictures(12)])


def test_memory_does_not_grow_with_the_number_of_pictures(with_graphs: Engine) -> None:
    wait([with_graphs.submit(picture) for picture in pictures(60)])
    before = torch.cuda.memory_allocated(GPU)
    wait([with_graphs.submit(picture) for picture in pictures(240)])
    assert torch.cuda.memory_allocated(GPU) <= before + (64 << 20)


def test_peak_memory_is_measured() -> None:
    gpu = CudaHardware(GPU)
    gpu.open()
    assert gpu.memory is not None
    assert gpu.memory.peak_during(lambda: torch.empty(100 << 20, dtype=torch.uint8, device=GPU)) == 100 << 20
    assert gpu.memory.free() > 0


def test_a_fake_model_runs_on_a_gpu_too() -> None:
    model: MattingModel = FakeModel(FakeOptions(side=64))
    with Engine(EngineOptions(device="cuda"), model=model) as engine:
        assert engine.submit(pictures(1)[0]).result().pixels.shape == (*SIZES[0], 4)


def test_the_bench_measures_a_gpu(tmp_path: Path) -> None:
    files = [str(draw_photo(tmp_path, (1920, 1080), seed)) for seed in range(2)]
    runner = TaskRunner(EngineProcessConfig("cuda:0", 2, "nano"))
    assert runner.answer("facts", {})["memory"] > 1 << 30
    single = runner.answer("single", {"files": files, "repeats": 3})
    assert min(single["wall"]) > 0 and 10e6 < single["peak"] < torch.cuda.mem_get_info(GPU)[1]
    for cuda_graphs in (True, False):
        options = {"files": files, "batch": 2, "repeats": 2, "cuda_graphs": cuda_graphs}
        assert medians(runner.answer("stages", options)["runs"], 0)["coarse"] > 0
    assert runner.answer("stream", {"files": files, "count": 40, "batch": 16})["out_of_memory"] == 0
    line = runner.answer("roofline", {"file": files[0], "repeats": 3})
    assert line["dtype"] == "torch.float16" and line["flops"]["coarse"] > 1e8
    assert line["rates"]["matmul"] > 1e12 and line["rates"]["copy"] > 1e10
    every = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    options = {"files": files, "count": 8, "devices": every, "threads": 1, "batch": 2, "cores": []}
    assert all(runner.answer(way, options)["seconds"] > 0 for way in ("together", "lockstep"))
    runner.close()


class Waits(FakeModel):
    """Waits for the device in its coarse step, which cannot be captured."""

    capturable = True

    def coarse(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert batch.sum().item() >= 0
        return tuple(super().coarse(batch))


def test_a_step_that_cannot_be_captured_runs_without_graphs_and_that_is_reported() -> None:
    """Must be the last test: after a failed capture, torch caches more memory in this process."""
    with Engine(EngineOptions(device="cuda"), model=Waits()) as engine:
        assert engine.submit(pictures(1)[0]).result().pixels.shape == (*SIZES[0], 4)
        [note] = engine.slowdowns
    assert "capturing CUDA graphs failed" in note
