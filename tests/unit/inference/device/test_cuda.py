"""On a real card: what tests over a stand-in cannot show. Skipped where there is none."""

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
from inference.device.cuda_graphs import CudaGraphs, CudaRecorder, pattern
from inference.device.hardware import Cuda
from inference.device.pinned_memory import pinned_arena
from inference.device.transfers import CudaLanes, StreamedTransfers
from inference.models.base import MattingModel
from inference.models.fake import FakeModel, FakeOptions
from inference.models.native import CVUNetModel
from inference.models.registry import resolve
from inference.synthetic import render_sample
from watcher.commands.bench.engine.engine_process import EngineProcessConfig
from watcher.commands.bench.engine.stage_times import medians
from watcher.commands.bench.engine.tasks import TaskRunner
from watcher.commands.bench.photos import draw_photo

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
CARD = torch.device("cuda", 0)
SIZES = [(480, 640), (600, 600), (720, 1280), (1080, 1920), (97, 53), (2100, 40)]


def pictures(count: int) -> list[Picture]:
    """Of all sizes in turn."""
    return [drawn(number % len(SIZES)) for number in range(count)]


@cache
def drawn(index: int) -> Picture:
    """Of that size; one that is narrower than anything that can be placed in it is cut from a larger one."""
    height, width = SIZES[index]
    sample = render_sample(np.random.default_rng([31, index]), max(height, 256), max(width, 256))
    return Picture(np.ascontiguousarray(sample.image[:height, :width]))


def alpha(engine: Engine, picture: Picture) -> NDArray[np.int64]:
    """Of a picture that is alone in its batch."""
    return engine.submit(picture).result().pixels[..., 3].astype(np.int64)


@pytest.fixture(scope="module")
def eager() -> Iterator[Engine]:
    """The shipped network without graphs."""
    with Engine(EngineOptions(device="cuda", cuda_graphs=False)) as engine:
        yield engine


@pytest.fixture(scope="module")
def recorded() -> Iterator[Engine]:
    """The shipped network as it comes."""
    with Engine(EngineOptions(device="cuda")) as engine:
        yield engine


def test_nothing_has_to_be_done_without(recorded: Engine) -> None:
    assert recorded.slowdowns == ()
    assert len(recorded._thread.graphs) > 0


def test_the_batch_limit_leaves_memory_free(recorded: Engine) -> None:
    free, total = torch.cuda.mem_get_info(CARD)
    assert 1 <= recorded.batch_limit <= 64 and free > total * 0.05


def test_with_graphs_the_mattes_are_those_without_alone_and_in_company(eager: Engine, recorded: Engine) -> None:
    given = pictures(4 * len(SIZES))
    without, alone = ([alpha(engine, picture) for picture in given] for engine in (eager, recorded))
    together = [promise.result().pixels[..., 3] for promise in [recorded.submit(picture) for picture in given]]
    for wanted, one, other in zip(without, alone, together, strict=True):
        assert np.abs(wanted - one).max() <= 1
        assert np.abs(wanted - other).mean() < 0.1  # other kernels run for other batches, and round in another order


def test_cut_outs_stay_as_they_are_while_hundreds_follow(recorded: Engine) -> None:
    given = pictures(len(SIZES))
    first = [recorded.submit(picture).result().pixels for picture in given]
    before = [pixels.copy() for pixels in first]
    wait([recorded.submit(picture) for picture in pictures(300)])
    assert all(map(np.array_equal, first, before))


def test_the_same_picture_gives_the_same_cut_out_however_much_goes_on(recorded: Engine) -> None:
    """A copy that is read too early, or memory that is used again too early, is another picture's pixels."""
    given = pictures(len(SIZES))
    wanted = [alpha(recorded, picture) for picture in given]
    promises = [recorded.submit(picture) for picture in given * 40]
    for number, promise in enumerate(promises):
        found = promise.result().pixels
        assert np.abs(found[..., 3] - wanted[number % len(given)]).mean() < 0.1
        opaque = found[..., 3] == 255
        assert np.array_equal(found[opaque][:, :3], given[number % len(given)].pixels[opaque])


def test_what_goes_up_and_comes_down_is_the_same_through_pinned_memory_and_without() -> None:
    arena = pinned_arena()
    assert arena is not None
    transfers = StreamedTransfers(CARD, arena, CudaLanes(CARD))
    rng = np.random.default_rng(5)
    for size in [*SIZES, (6000, 9000)]:
        given = Picture(rng.integers(0, 256, (*size, 3), np.uint8))
        staged = transfers.staged(given)
        pixels = torch.from_numpy(staged.pixels)
        assert pixels.is_pinned() and staged is not given
        there = transfers.up(pixels)
        download = transfers.down(torch.cat((there, there[..., :1]), 2))
        del there
        torch.full((*size, 4), 9, dtype=torch.uint8, device=CARD)  # would take the memory, if it were given back early
        download.wait()
        assert download.done() and np.array_equal(download.pixels[..., :3], given.pixels)
        transfers.settle()


def test_graphs_give_what_the_network_gives() -> None:
    model = CVUNetModel(resolve("nano"))
    torch.cuda.set_device(CARD)
    model.load(CARD)
    graphs, shapes = CudaGraphs(model), [(count, size) for size in model.canvases() for count in (4, 1)]
    batches = [pattern(count, size, model.dtype, CARD) for count, size in shapes]
    assert graphs.record(CudaRecorder(CARD), batches) == ""
    with torch.inference_mode():
        for batch in [*batches, *(1 - batch for batch in batches)]:
            for one, other in zip(model.coarse(batch), graphs.coarse(batch), strict=True):
                torch.testing.assert_close(one, other, atol=1 / 255, rtol=1 / 255)


def test_a_device_that_has_been_filled_up_takes_smaller_batches() -> None:
    """The ladder, with real memory: a model that wants a tenth of the card for each picture."""
    each = torch.cuda.mem_get_info(CARD)[1] // 10

    class Greedy(FakeModel):
        def coarse(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            torch.empty(len(batch) * each, dtype=torch.uint8, device=batch.device)
            return tuple(super().coarse(batch))

    with Engine(EngineOptions(device="cuda"), model=Greedy()) as engine:
        assert 1 <= engine.batch_limit <= 8
        wait([engine.submit(picture) for picture in pictures(12)])


def test_memory_does_not_grow_with_what_has_been_done(recorded: Engine) -> None:
    wait([recorded.submit(picture) for picture in pictures(60)])
    before = torch.cuda.memory_allocated(CARD)
    wait([recorded.submit(picture) for picture in pictures(240)])
    assert torch.cuda.memory_allocated(CARD) <= before + (64 << 20)


def test_the_memory_of_some_work_is_measured() -> None:
    card = Cuda(CARD)
    card.open()
    assert card.memory is not None
    assert card.memory.most_during(lambda: torch.empty(100 << 20, dtype=torch.uint8, device=CARD)) == 100 << 20
    assert card.memory.free() > 0


def test_a_fake_model_runs_on_a_card_too() -> None:
    model: MattingModel = FakeModel(FakeOptions(side=64))
    with Engine(EngineOptions(device="cuda"), model=model) as engine:
        assert engine.submit(pictures(1)[0]).result().pixels.shape == (*SIZES[0], 4)


def test_the_bench_measures_a_card(tmp_path: Path) -> None:
    files = [str(draw_photo(tmp_path, (1920, 1080), seed)) for seed in range(2)]
    runner = TaskRunner(EngineProcessConfig("cuda:0", 2, "nano"))
    assert runner.answer("facts", {})["memory"] > 1 << 30
    single = runner.answer("single", {"files": files, "repeats": 3})
    assert min(single["wall"]) > 0 and 10e6 < single["peak"] < torch.cuda.mem_get_info(CARD)[1]
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
    """Waits for the device within its coarse step, which no graph can hold."""

    recordable = True

    def coarse(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert batch.sum().item() >= 0
        return tuple(super().coarse(batch))


def test_what_cannot_be_recorded_runs_as_it_is_and_says_so() -> None:
    """The last one: torch keeps more memory to itself in a process in which a recording has failed."""
    with Engine(EngineOptions(device="cuda"), model=Waits()) as engine:
        assert engine.submit(pictures(1)[0]).result().pixels.shape == (*SIZES[0], 4)
        [note] = engine.slowdowns
    assert "recording CUDA graphs failed" in note
