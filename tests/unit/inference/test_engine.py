"""The engine with the shipped fake model: results, batches, out of memory, death."""

import threading
from collections.abc import Sequence
from concurrent.futures import wait

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference import BatchStats, Engine, EngineOptions, Picture
from inference.device.thread import CLEAN_BATCHES
from inference.errors import DeviceLost, EngineClosed, ModelError, PictureTooLargeForDevice
from inference.models.fake import FakeModel, FakeOptions, parse_options
from tests.equipment.support import wait_until


def picture(height: int = 60, width: int = 80, colour: tuple[int, int, int] = (200, 20, 20)) -> Picture:
    """A block of a colour on light grey."""
    pixels = np.full((height, width, 3), 230, np.uint8)
    pixels[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = colour
    return Picture(pixels)


def fake(**options: float) -> Engine:
    return Engine(EngineOptions(), model=FakeModel(FakeOptions(**options)))


def inside(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    middle: NDArray[np.uint8] = pixels[height // 3, width // 3]
    return middle


@pytest.mark.parametrize("size", [(60, 80), (1, 1), (2, 301), (301, 3), (97, 53), (2100, 40)])
def test_a_cut_out_has_the_pictures_own_size(size: tuple[int, int]) -> None:
    with fake() as engine:
        assert engine.submit(picture(*size)).result().pixels.shape == (*size, 4)


def test_the_object_stays_and_the_background_goes() -> None:
    with fake() as engine:
        pixels = engine.submit(picture(colour=(10, 120, 40))).result().pixels
    assert inside(pixels).tolist() == [10, 120, 40, 255]
    assert pixels[0, 0, 3] == 0


def test_many_threads_get_their_own_results() -> None:
    colours = [(c, 255 - c, 40) for c in range(0, 200, 5)]
    with fake() as engine:
        promises = [engine.submit(picture(40 + 10 * (i % 3), 60, colour)) for i, colour in enumerate(colours)]
        assert [tuple(inside(p.result().pixels)[:3]) for p in promises] == colours


def test_what_is_announced_is_batched_together() -> None:
    seen: list[BatchStats] = []
    engine = Engine(EngineOptions(max_wait=30, batch=4), model=FakeModel(), on_batch=seen.append)
    with engine, engine.announce() as first, engine.announce() as second, engine.announce() as third:
        wait([submit(picture()) for submit in (first, second, third)])
    assert [(s.size, s.trigger) for s in seen] == [(3, "idle")]


def test_out_of_memory_halves_the_batch_and_nothing_fails() -> None:
    engine = Engine(EngineOptions(batch=8, max_wait=30), model=FakeModel(FakeOptions(oom_above=3)))
    promises = [engine.submit(picture()) for _ in range(8)]
    with engine:
        assert all(p.result().pixels.shape == (60, 80, 4) for p in promises)
        assert engine.batch_limit == 2
        assert engine.stats().out_of_memory == 2


def test_the_limit_recovers_after_a_run_of_clean_batches() -> None:
    model = FakeModel(FakeOptions(oom_above=1))
    engine = Engine(EngineOptions(batch=2, max_wait=30), model=model)
    promises = [engine.submit(picture()) for _ in range(2)]
    with engine:
        wait(promises)
        assert engine.batch_limit == 1
        for _ in range(CLEAN_BATCHES):
            engine.submit(picture()).result()
        engine.close()
        assert engine.batch_limit == 2


def test_a_picture_that_does_not_fit_alone_is_tried_with_less_detail() -> None:
    with fake(oom_pixels=20_000) as engine:  # more than the warm-up's canvas
        cutout = engine.submit(picture(150, 200)).result()
    assert inside(cutout.pixels).tolist() == [200, 20, 20, 255]


def test_a_picture_that_never_fits_is_rejected_and_the_next_one_works() -> None:
    with fake(oom_pixels=20_000) as engine:
        with pytest.raises(PictureTooLargeForDevice, match="800 x 600"):
            engine.submit(picture(600, 800)).result()
        assert engine.submit(picture(8, 8)).result().pixels.shape == (8, 8, 4)


def test_a_failed_device_fails_all_that_wait_and_says_so() -> None:
    engine = fake(fail_at=2)  # the warm-up is the first
    promises = [engine.submit(picture(40, 40 + 300 * i)) for i in range(3)]
    engine.start()
    for promise in promises:
        with pytest.raises(DeviceLost, match="as it was told to"):
            promise.result(10)
    assert engine.lost.is_set()
    with pytest.raises(DeviceLost):
        engine.submit(picture())
    engine.close()


def test_a_device_that_fails_at_start_raises() -> None:
    engine = fake(fail_at=1)
    with pytest.raises(DeviceLost, match="could not be started"):
        engine.start()


def test_close_finishes_what_was_submitted() -> None:
    engine = fake()
    promises = [engine.submit(picture()) for _ in range(10)]
    engine.start()
    engine.close()
    assert all(p.done() for p in promises)
    with pytest.raises(EngineClosed):
        engine.submit(picture())


def test_pictures_on_the_device_are_told_until_they_are_done() -> None:
    seen: list[int] = []

    class Looking(FakeModel):
        def coarse(self, pixels: torch.Tensor) -> Sequence[torch.Tensor]:
            seen.append(engine.stats().running)
            return super().coarse(pixels)

    engine = Engine(EngineOptions(batch=3, max_wait=30), model=Looking())
    promises = [engine.submit(picture()) for _ in range(3)]
    with engine:
        wait(promises)
        assert seen[-1] == 3
        wait_until(lambda: engine.stats().running == 0)
        assert (engine.uuid, engine.stats().gpu, engine.stats().memory) == ("", {}, {})


def test_a_cancelled_promise_harms_nobody() -> None:
    engine = fake()
    first, second = engine.submit(picture()), engine.submit(picture())
    first.cancel()
    with engine:
        assert second.result().pixels.shape == (60, 80, 4)


def test_only_the_device_thread_touches_the_model() -> None:
    threads: set[str] = set()

    class Spy(FakeModel):
        def coarse(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            threads.add(threading.current_thread().name)
            return super().coarse(batch)  # type: ignore[return-value]

    with Engine(EngineOptions(), model=Spy()) as engine:
        engine.submit(picture()).result()
    assert threads == {"device-cpu"}


@pytest.mark.parametrize("device", ["cuda:99", "banana", "meta"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ModelError, match=device):
        Engine(EngineOptions(device=device), model=FakeModel())


def test_the_fakes_options_are_read_and_unknown_ones_refused() -> None:
    assert parse_options("delay=0.5,fail_at=3") == FakeOptions(delay=0.5, fail_at=3)
    with pytest.raises(ModelError, match="nonsense"):
        parse_options("nonsense=1")


def test_an_engine_with_one_core_computes_when_it_is_its_turn() -> None:
    with Engine(EngineOptions(threads=1), model=FakeModel(FakeOptions())) as engine:
        with engine.core_lock:
            promise = engine.submit(picture())
            with pytest.raises(TimeoutError):
                promise.result(0.2)
        promise.result()


def test_an_engine_with_several_cores_waits_for_nobody() -> None:
    with Engine(EngineOptions(threads=2), model=FakeModel(FakeOptions())) as engine, engine.core_lock:
        engine.submit(picture()).result()
