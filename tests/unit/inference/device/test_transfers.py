"""Transfers beside computation give the same cut-outs as synchronous ones."""

import gc
import weakref
from concurrent.futures import wait

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference import Engine, EngineOptions, Picture
from inference.device.pinned_memory import Arena
from inference.device.transfers import StreamedTransfers, Transfers
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from tests.equipment.fake_gpu import DelayedCopies, DelayedCopy, FakeGpu
from watcher.commands.bench.engine.launch_counts import StandIn

CPU = torch.device("cpu")


def picture(number: int, height: int = 60, width: int = 80) -> Picture:
    """Noise on light grey."""
    pixels = np.full((height, width, 3), 230, np.uint8)
    drawn = np.random.default_rng(number).integers(0, 256, (height // 2, width // 2, 3), np.uint8)
    pixels[height // 4 :, width // 4 :][: height // 2, : width // 2] = drawn
    return Picture(pixels)


def cut_out_without_copies(pictures: list[Picture]) -> list[NDArray[np.uint8]]:
    with Engine(EngineOptions(), model=FakeModel(), hardware=StandIn(CPU)) as engine:
        return [engine.submit(p).result().pixels for p in pictures]


@pytest.mark.parametrize("pinned", [1 << 22, 1 << 16, 1 << 12])
def test_cut_outs_are_the_same_with_plenty_little_or_no_pinned_memory(pinned: int):
    pictures = [picture(number, 40 + 7 * (number % 4)) for number in range(24)]
    gpu = FakeGpu(model := FakeModel(), pinned=pinned)
    with Engine(EngineOptions(), model=model, hardware=gpu) as engine:
        found = [future.result().pixels for future in [engine.submit(p) for p in pictures]]
        for pixels, wanted in zip(found, cut_out_without_copies(pictures), strict=True):
            assert np.array_equal(pixels, wanted)
    assert pinned < 1 << 22 or len(gpu.copies.downloads) == 1 + 24, "the first is the rehearsal of the warm-up"


def test_a_cut_out_is_not_overwritten_by_later_ones():
    gpu = FakeGpu(model := FakeModel(), pinned=1 << 17)
    with Engine(EngineOptions(), model=model, hardware=gpu) as engine:
        first = engine.submit(picture(0)).result().pixels
        before = first.copy()
        wait([engine.submit(picture(number)) for number in range(1, 30)])
    assert np.array_equal(first, before)


def test_pinned_memory_is_reused_when_pictures_and_cut_outs_are_gone():
    gpu = FakeGpu(model := FakeModel(), pinned=1 << 17)
    with Engine(EngineOptions(), model=model, hardware=gpu) as engine:
        for number in range(30):
            engine.submit(picture(number)).result()
    assert len(gpu.copies.downloads) == 30, "all were downloaded to pinned memory"
    gc.collect()
    assert gpu.arena.allocate((1 << 17,)) is not None


def test_pictures_of_the_next_size_are_computed_while_cut_outs_are_downloaded():
    gpu = FakeGpu(model := FakeModel())
    engine = Engine(EngineOptions(batch=4, max_wait=30), model=model, hardware=gpu)
    futures = [engine.submit(picture(number, 60 + number)) for number in range(4)]
    with engine:
        wait(futures)
    _rehearsal, *copies = gpu.copies.downloads
    assert [copy.waits for copy in copies] == [0, 0, 0, 1], "only the last one of a batch is waited for"


def test_cut_outs_finished_before_memory_ran_out_are_delivered_and_not_repeated():
    model = FakeModel(FakeOptions(oom_pixels=20_000))
    gpu = FakeGpu(model)
    engine = Engine(EngineOptions(batch=4, max_wait=30), model=model, hardware=gpu)
    sizes = [(60, 80), (60, 80), (150, 200), (60, 80)]
    futures = [engine.submit(picture(number, *size)) for number, size in enumerate(sizes)]
    with engine:
        assert [future.result().pixels.shape[:2] for future in futures] == sizes
    assert len(gpu.copies.downloads) == 4


def test_a_picture_is_staged_by_the_thread_that_submits_it():
    transfers = StreamedTransfers(CPU, Arena(torch.zeros(1 << 16, dtype=torch.uint8)), DelayedCopies())
    given = picture(1)
    staged = transfers.stage(given)
    assert staged.pixels is not given.pixels and np.array_equal(staged.pixels, given.pixels)
    large = picture(3, 300, 400)
    assert transfers.stage(large) is large


def test_a_download_keeps_its_source_alive():
    class Forgetful(DelayedCopies):
        def download(self, rgba: torch.Tensor, into: torch.Tensor) -> DelayedCopy:
            return DelayedCopy(lambda: None)

    transfers = StreamedTransfers(CPU, Arena(torch.zeros(1 << 16, dtype=torch.uint8)), Forgetful())
    download = transfers.download(rgba := torch.zeros(8, 8, 4, dtype=torch.uint8))
    kept = weakref.ref(rgba)
    del rgba
    assert kept() is not None
    del download
    assert kept() is None


def test_on_a_cpu_nothing_is_copied():
    given = picture(1)
    transfers = Transfers(CPU)
    pixels = torch.from_numpy(given.pixels)
    assert transfers.stage(given) is given
    assert transfers.upload(pixels).data_ptr() == pixels.data_ptr() == transfers.download(pixels).pixels.ctypes.data
