"""The engine with the fake model: results, batches, lack of memory, device failure."""

import threading
from collections.abc import Sequence
from concurrent.futures import wait

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference import BatchStats, Engine, EngineOptions, Picture
from inference.device.thread import BATCHES_BEFORE_GROWTH
from inference.errors import DeviceLost, EngineClosed, ModelError, PictureTooLargeForDevice
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions, parse_options
from tests.equipment.support import wait_until


def picture(height: int = 60, width: int = 80, colour: tuple[int, int, int] = (200, 20, 20)) -> Picture:
    """A block of one colour on light grey."""
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


def test_a_picture_of_four_bytes_a_pixel_becomes_its_own_cut_out() -> None:
    plain = picture(colour=(10, 120, 40))
    rgbx = np.dstack((plain.pixels, np.full(plain.pixels.shape[:2], 99, np.uint8)))
    with fake() as engine:
        assert engine.takes_rgbx
        wanted = engine.submit(plain).result().pixels
        made = engine.submit(Picture(rgbx[..., :3], rgbx=rgbx)).result().pixels
    assert np.shares_memory(made, rgbx)
    assert np.array_equal(made, wanted)


def test_many_threads_get_their_own_results() -> None:
    colours = [(c, 255 - c, 40) for c in range(0, 200, 5)]
    with fake() as engine:
        futures = [engine.submit(picture(40 + 10 * (i % 3), 60, colour)) for i, colour in enumerate(colours)]
        assert [tuple(inside(p.result().pixels)[:3]) for p in futures] == colours


def test_announced_pictures_share_a_batch() -> None:
    seen: list[BatchStats] = []
    engine = Engine(EngineOptions(max_wait=30, batch=4), model=FakeModel(), on_batch=seen.append)
    with engine, engine.announce() as first, engine.announce() as second, engine.announce() as third:
        wait([submit(picture()) for submit in (first, second, third)])
    assert [(s.size, s.trigger) for s in seen] == [(3, "idle")]


def test_lack_of_memory_halves_the_batch_and_nothing_fails() -> None:
    engine = Engine(EngineOptions(batch=8, max_wait=30), model=FakeModel(FakeOptions(oom_above=3)))
    futures = [engine.submit(picture()) for _ in range(8)]
    with engine:
        assert all(p.result().pixels.shape == (60, 80, 4) for p in futures)
        assert engine.batch_limit == 2
        assert engine.stats().out_of_memory == 2


def test_the_limit_recovers_after_batches_without_an_error() -> None:
    model = FakeModel(FakeOptions(oom_above=1))
    engine = Engine(EngineOptions(batch=2, max_wait=30), model=model)
    futures = [engine.submit(picture()) for _ in range(2)]
    with engine:
        wait(futures)
        assert engine.batch_limit == 1
        for _ in range(BATCHES_BEFORE_GROWTH):
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


def test_a_device_failure_fails_all_pending_pictures() -> None:
    engine = fake(fail_at=2)  # the warm-up is the first
    futures = [engine.submit(picture(40, 40 + 300 * i)) for i in range(3)]
    engine.start()
    for future in futures:
        with pytest.raises(DeviceLost, match="as it was told to"):
            future.result(10)
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
    futures = [engine.submit(picture()) for _ in range(10)]
    engine.start()
    engine.close()
    assert all(p.done() for p in futures)
    with pytest.raises(EngineClosed):
        engine.submit(picture())


def test_pictures_on_the_device_are_counted_until_they_are_finished() -> None:
    seen: list[int] = []

    class Looking(FakeModel):
        def coarse(self, pixels: torch.Tensor) -> Sequence[torch.Tensor]:
            seen.append(engine.stats().running)
            return super().coarse(pixels)

    engine = Engine(EngineOptions(batch=3, max_wait=30), model=Looking())
    futures = [engine.submit(picture()) for _ in range(3)]
    with engine:
        wait(futures)
        assert seen[-1] == 3
        wait_until(lambda: engine.stats().running == 0)
        assert (engine.uuid, engine.stats().gpu, engine.stats().memory) == ("", {}, {})


def test_a_cancelled_future_does_not_affect_others() -> None:
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
def test_an_unavailable_device_is_named(device: str) -> None:
    with pytest.raises(ModelError, match=device):
        Engine(EngineOptions(device=device), model=FakeModel())


def test_the_fake_models_options_are_parsed_and_unknown_ones_refused() -> None:
    assert parse_options("fake:delay=0.5,fail_at=3") == FakeOptions(delay=0.5, fail_at=3)
    with pytest.raises(ModelError, match="nonsense"):
        parse_options("fake:nonsense=1")


def test_with_one_core_the_engine_waits_for_the_core_lock() -> None:
    with Engine(EngineOptions(threads=1), model=FakeModel(FakeOptions())) as engine:
        with engine.core_lock:
            future = engine.submit(picture())
            with pytest.raises(TimeoutError):
                future.result(0.2)
        future.result()


def test_with_several_cores_the_core_lock_is_not_held() -> None:
    with Engine(EngineOptions(threads=2), model=FakeModel(FakeOptions())) as engine, engine.core_lock:
        engine.submit(picture()).result()
