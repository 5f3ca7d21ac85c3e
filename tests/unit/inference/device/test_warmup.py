"""What happens before the first picture: the batch that fits is found, and the coarse step is recorded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inference import Engine, EngineOptions, Picture
from inference.device.batch_fitting import FEW, RESERVE, SHARE, fitting
from inference.device.cuda_graphs import Coarse, CudaGraphs, agree, pattern
from inference.errors import DeviceLost
from inference.models.fake import FakeModel, FakeOptions
from tests.equipment.fake_gpu import FakeGpu, Tape

MB = 1 << 20
CPU = torch.device("cpu")


class Recordable(FakeModel):
    """As our own network is."""

    recordable = True


def limit(model: FakeModel, options: EngineOptions | None = None, **card: Any) -> tuple[int, Engine]:
    with Engine(options or EngineOptions(), model=model, hardware=FakeGpu(model, **card)) as engine:
        return engine.batch_limit, engine


def free_for(pictures: float, each: int) -> int:
    """Bytes of which so many pictures may have theirs."""
    return int((pictures * each + RESERVE) / SHARE) + 1


@pytest.mark.parametrize(("pictures", "found"), [(1000, 64), (64, 64), (63, 32), (20, 16), (9, 8), (1.5, 1), (-5, 1)])
def test_the_batch_is_what_fits_into_the_free_memory(pictures: float, found: int):
    assert limit(FakeModel(), free=free_for(pictures, 100 * MB), each=100 * MB)[0] == found


def test_the_settings_batch_is_the_most():
    assert limit(FakeModel(), EngineOptions(batch=24), each=MB)[0] == 24
    assert limit(FakeModel(), EngineOptions(batch=24), free=free_for(23, MB), each=MB)[0] == 16


def test_the_estimate_is_tried_and_halved_where_it_was_wrong():
    model = FakeModel(FakeOptions(oom_above=20))
    found, engine = limit(model)
    assert found == 16 and max(model.batches) == 64 and engine.stats().out_of_memory == 2


def test_where_not_even_a_few_fit_the_ladder_begins_with_them():
    model = FakeModel(FakeOptions(oom_above=3))
    assert limit(model)[0] == 2 and max(model.batches) == FEW


def test_where_none_fits_the_device_does_not_start():
    model = FakeModel(FakeOptions(oom_above=0.5))
    with pytest.raises(DeviceLost, match="no memory"):
        limit(model)


def test_a_batch_of_one_is_not_measured_with_more():
    model = FakeModel()
    limit(model, EngineOptions(batch=1))
    assert set(model.batches) == {1}


@given(st.integers(0, 1 << 37), st.integers(0, 1 << 33), st.integers(0, 1 << 34), st.integers(1, 64))
def test_the_rule_keeps_to_its_bounds_and_to_the_memory(free: int, one: int, more: int, most: int):
    found = fitting(free, one, one + more, most)
    each = more // (FEW - 1)
    assert 1 <= found <= most
    assert found == 1 or found * each <= SHARE * free - RESERVE
    assert fitting(2 * free + 1, one, one + more, most) >= found


def test_every_canvas_is_recorded_once_for_each_number_of_places_and_replayed():
    tape, model = Tape(), Recordable(FakeOptions(side=192))
    engine = Engine(EngineOptions(batch=4), model=model, hardware=FakeGpu(model, recorder=tape))
    with engine:
        tape.played.clear()
        pixels = np.full((60, 80, 3), 230, np.uint8)
        pixels[20:40, 20:40] = (10, 120, 40)
        cutout = engine.submit(Picture(pixels)).result()
        assert cutout.pixels[30, 30].tolist() == [10, 120, 40, 255] and cutout.pixels[0, 0, 3] == 0
    assert tape.shapes == [(count, 3, *size) for size in model.canvases() for count in (4, 2, 1)]
    assert tape.played == [1] and engine.slowdowns == ()


def test_batches_that_keep_the_device_busy_are_not_recorded():
    tape, model = Tape(), Recordable(FakeOptions(side=512))
    with Engine(EngineOptions(batch=16), model=model, hardware=FakeGpu(model, recorder=tape)):
        assert max(count for count, _, *size in tape.shapes if size == [512, 512]) == 8


def refuse(coarse: Coarse, batch: Tensor) -> Coarse:
    raise RuntimeError("operation not permitted when stream is capturing")


def second_refuses() -> Tape:
    tape = Tape()

    def record(coarse: Coarse, batch: Tensor) -> Coarse:
        return refuse(coarse, batch) if len(tape.shapes) == 1 else tape(coarse, batch)

    return record  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [
        (refuse, "not permitted when stream is capturing"),
        (second_refuses(), "not permitted when stream is capturing"),
        (Tape(wrong=0.01), "something else than the model"),
        (Tape(wrong=float("nan")), "something else than the model"),
    ],
)
def test_what_cannot_be_recorded_or_comes_out_otherwise_runs_as_it_is(recorder: Tape, reason: str):
    model = Recordable()
    engine = Engine(EngineOptions(batch=2), model=model, hardware=FakeGpu(model, recorder=recorder))
    with engine:
        before = len(model.batches)
        engine.submit(Picture(np.zeros((60, 80, 3), np.uint8))).result()
        assert len(model.batches) == before + 1 and len(engine._thread.graphs) == 0
    [note] = engine.slowdowns
    assert note.startswith("recording CUDA graphs failed") and reason in note


def test_a_device_that_does_not_survive_recording_is_found_out_at_start():
    class Broken(Recordable):
        def coarse(self, batch: Tensor) -> Sequence[Tensor]:
            if dead:
                raise RuntimeError("an illegal memory access was encountered")
            return super().coarse(batch)

    def die(coarse: Coarse, batch: Tensor) -> Coarse:
        dead.append(True)
        return refuse(coarse, batch)

    dead: list[bool] = []
    model = Broken()
    with pytest.raises(DeviceLost, match="illegal memory access"):
        Engine(EngineOptions(batch=2), model=model, hardware=FakeGpu(model, recorder=die)).start()


def test_models_of_others_are_never_recorded():
    tape, model = Tape(), FakeModel()
    with Engine(EngineOptions(), model=model, hardware=FakeGpu(model, recorder=tape)) as engine:
        assert tape.shapes == [] and engine.slowdowns == ()


@torch.inference_mode()
def test_a_shape_that_was_not_recorded_runs_as_it_is():
    model = Recordable()
    graphs, tape = CudaGraphs(model), Tape()
    assert graphs.record(tape, [pattern(2, (64, 64), torch.float32, CPU)]) == ""
    for count in (2, 3):
        batch = pattern(count, (64, 64), torch.float32, CPU)
        assert all(map(torch.equal, graphs.coarse(batch), model.coarse(batch)))
    assert tape.played == [2, 2]


def test_the_pictures_of_a_pattern_differ():
    batch = pattern(4, (64, 96), torch.float16, CPU)
    assert batch.shape == (4, 3, 64, 96) and batch.dtype == torch.float16
    assert not agree(batch[0], batch[1]) and batch.min() >= 0 and batch.max() <= 1
