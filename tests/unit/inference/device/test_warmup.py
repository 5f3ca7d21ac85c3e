"""Warm-up: the largest batch that fits is found, and the coarse step is captured as CUDA graphs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inference import Engine, EngineOptions, Picture
from inference.device.cuda_graphs import CoarseStep, CudaGraphs, agree, varied_batch
from inference.device.warmup import PROBE_BATCH, RESERVED_BYTES, USABLE_SHARE, largest_batch
from inference.errors import DeviceLost
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from tests.equipment.fake_gpu import FakeCapture, FakeGpu

MB = 1 << 20
CPU = torch.device("cpu")


class Capturable(FakeModel):
    """Like CV-UNet."""

    capturable = True


def limit(model: FakeModel, options: EngineOptions | None = None, **gpu: Any) -> tuple[int, Engine]:
    with Engine(options or EngineOptions(), model=model, hardware=FakeGpu(model, **gpu)) as engine:
        return engine.batch_limit, engine


def free_for(pictures: float, each: int) -> int:
    """Free memory in bytes that suffices for this many pictures of `each` bytes."""
    return int((pictures * each + RESERVED_BYTES) / USABLE_SHARE) + 1


@pytest.mark.parametrize(("pictures", "found"), [(1000, 64), (64, 64), (63, 32), (20, 16), (9, 8), (1.5, 1), (-5, 1)])
def test_the_largest_batch_is_what_fits_into_free_memory(pictures: float, found: int):
    assert limit(FakeModel(), free=free_for(pictures, 100 * MB), each=100 * MB)[0] == found


def test_the_batch_setting_is_an_upper_limit():
    assert limit(FakeModel(), EngineOptions(batch=24), each=MB)[0] == 24
    assert limit(FakeModel(), EngineOptions(batch=24), free=free_for(23, MB), each=MB)[0] == 16


def test_the_estimate_is_tried_and_halved_until_it_fits():
    model = FakeModel(FakeOptions(oom_above=20))
    found, engine = limit(model)
    assert found == 16 and max(model.batches) == 64 and engine.stats().out_of_memory == 2


def test_if_the_probe_batch_does_not_fit_halving_starts_from_it():
    model = FakeModel(FakeOptions(oom_above=3))
    assert limit(model)[0] == 2 and max(model.batches) == PROBE_BATCH


def test_if_not_even_one_picture_fits_the_device_does_not_start():
    model = FakeModel(FakeOptions(oom_above=0.5))
    with pytest.raises(DeviceLost, match="no memory"):
        limit(model)


def test_a_batch_limit_of_one_is_never_exceeded_in_the_warm_up():
    model = FakeModel()
    limit(model, EngineOptions(batch=1))
    assert set(model.batches) == {1}


@given(st.integers(0, 1 << 37), st.integers(0, 1 << 33), st.integers(0, 1 << 34), st.integers(1, 64))
def test_the_estimate_respects_its_bounds_and_the_free_memory(free: int, one: int, more: int, most: int):
    found = largest_batch(free, one, one + more, most)
    each = more // (PROBE_BATCH - 1)
    assert 1 <= found <= most
    assert found == 1 or found * each <= USABLE_SHARE * free - RESERVED_BYTES
    assert largest_batch(2 * free + 1, one, one + more, most) >= found


def test_every_canvas_is_captured_once_for_each_number_of_slots_and_replayed():
    capture, model = FakeCapture(), Capturable(FakeOptions(side=192))
    engine = Engine(EngineOptions(batch=4), model=model, hardware=FakeGpu(model, capture=capture))
    with engine:
        capture.replayed.clear()
        pixels = np.full((60, 80, 3), 230, np.uint8)
        pixels[20:40, 20:40] = (10, 120, 40)
        cutout = engine.submit(Picture(pixels)).result()
        assert cutout.pixels[30, 30].tolist() == [10, 120, 40, 255] and cutout.pixels[0, 0, 3] == 0
    assert capture.shapes == [(count, 3, *size) for size in model.canvases() for count in (4, 2, 1)]
    assert capture.replayed == [1] and engine.slowdowns == ()


def test_large_batches_are_not_captured():
    capture, model = FakeCapture(), Capturable(FakeOptions(side=512))
    with Engine(EngineOptions(batch=16), model=model, hardware=FakeGpu(model, capture=capture)):
        assert max(count for count, _, *size in capture.shapes if size == [512, 512]) == 8


def refuse(coarse: CoarseStep, batch: Tensor) -> CoarseStep:
    raise RuntimeError("operation not permitted when stream is capturing")


def second_refuses() -> FakeCapture:
    working = FakeCapture()

    def capture(coarse: CoarseStep, batch: Tensor) -> CoarseStep:
        return refuse(coarse, batch) if len(working.shapes) == 1 else working(coarse, batch)

    return capture  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        (refuse, "not permitted when stream is capturing"),
        (second_refuses(), "not permitted when stream is capturing"),
        (FakeCapture(wrong=0.01), "results differ from the model's"),
        (FakeCapture(wrong=float("nan")), "results differ from the model's"),
    ],
)
def test_without_a_faithful_capture_the_step_runs_without_graphs(capture: FakeCapture, reason: str):
    model = Capturable()
    engine = Engine(EngineOptions(batch=2), model=model, hardware=FakeGpu(model, capture=capture))
    with engine:
        before = len(model.batches)
        engine.submit(Picture(np.zeros((60, 80, 3), np.uint8))).result()
        assert len(model.batches) == before + 1 and len(engine._thread.graphs) == 0
    [note] = engine.slowdowns
    assert note.startswith("capturing CUDA graphs failed") and reason in note


def test_a_device_that_does_not_survive_a_capture_fails_at_start():
    class Broken(Capturable):
        def coarse(self, batch: Tensor) -> Sequence[Tensor]:
            if dead:
                raise RuntimeError("an illegal memory access was encountered")
            return super().coarse(batch)

    def die(coarse: CoarseStep, batch: Tensor) -> CoarseStep:
        dead.append(True)
        return refuse(coarse, batch)

    dead: list[bool] = []
    model = Broken()
    with pytest.raises(DeviceLost, match="illegal memory access"):
        Engine(EngineOptions(batch=2), model=model, hardware=FakeGpu(model, capture=die)).start()


def test_third_party_models_are_never_captured():
    capture, model = FakeCapture(), FakeModel()
    with Engine(EngineOptions(), model=model, hardware=FakeGpu(model, capture=capture)) as engine:
        assert capture.shapes == [] and engine.slowdowns == ()


@torch.inference_mode()
def test_a_shape_that_was_not_captured_runs_without_a_graph():
    model = Capturable()
    graphs, capture = CudaGraphs(model), FakeCapture()
    assert graphs.capture(capture, [varied_batch(2, (64, 64), torch.float32, CPU)]) == ""
    for count in (2, 3):
        batch = varied_batch(count, (64, 64), torch.float32, CPU)
        assert all(map(torch.equal, graphs.coarse(batch), model.coarse(batch)))
    assert capture.replayed == [2, 2]


def test_the_pictures_of_a_varied_batch_differ():
    batch = varied_batch(4, (64, 96), torch.float16, CPU)
    assert batch.shape == (4, 3, 64, 96) and batch.dtype == torch.float16
    assert not agree(batch[0], batch[1]) and batch.min() >= 0 and batch.max() <= 1
