"""What goes wrong on a card and not on a CPU, reproduced by the messages and the readings that a card gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from inference import Engine, EngineOptions, Picture
from inference.device.thread import BYTES_PER_PIXEL, OTHERS_BYTES
from inference.errors import DeviceFull, DeviceLost, PictureTooLargeForDevice
from inference.models.fake import FakeModel
from inference.models.fake_options import FakeOptions
from inference.picture import textured_picture
from inference.resampling import MOST_REDUCTION, prior_reduction, resize_floats
from tests.equipment.fake_gpu import FakeGpu

ENGINE = RuntimeError("GET was unable to find an engine to execute this computation")
LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)


class Failing(FakeModel):
    """Raises an error for batches of more than `most` pictures, once `armed`."""

    def __init__(self, error: Exception, most: int) -> None:
        super().__init__()
        self.error, self.most, self.armed = error, most, True

    def coarse(self, batch: Tensor) -> Sequence[Tensor]:
        if self.armed and len(batch) > self.most:
            raise self.error
        return super().coarse(batch)


def picture(height: int = 60, width: int = 80) -> Picture:
    return Picture(np.full((height, width, 3), 200, np.uint8))


def test_lack_of_memory_in_the_words_of_cudnn_halves_the_batch():
    model = Failing(ENGINE, most=2)
    model.armed = False
    engine = Engine(EngineOptions(batch=8, max_wait=30), model=model, hardware=FakeGpu(model))
    futures = [engine.submit(picture()) for _ in range(8)]
    engine.start()
    [future.result() for future in futures]
    model.armed = True
    with engine.announce() as last:
        futures = [engine.submit(picture()) for _ in range(7)]
        [future.result() for future in [*futures, last(picture())]]
    assert engine.batch_limit == 2
    engine.close()


def test_lack_of_memory_in_the_words_of_cudnn_halves_the_batch_at_the_start():
    model = Failing(ENGINE, most=2)
    with Engine(EngineOptions(batch=8), model=model, hardware=FakeGpu(model)) as engine:
        assert engine.batch_limit == 2


def test_a_failed_kernel_is_not_taken_for_lack_of_memory():
    model = Failing(LOST, most=0)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        Engine(EngineOptions(batch=2), model=model, hardware=FakeGpu(model)).start()


@pytest.mark.parametrize(
    ("others", "share", "error"),
    [
        (lambda: 8 * OTHERS_BYTES, lambda: 1 << 40, DeviceFull),
        (lambda: OTHERS_BYTES // 2, lambda: 1 << 40, PictureTooLargeForDevice),
        (lambda: 8 * OTHERS_BYTES, lambda: 600 * 800 * BYTES_PER_PIXEL, PictureTooLargeForDevice),
    ],
    ids=["a neighbour fills the card", "there is no neighbour", "the card alone would not hold it"],
)
def test_a_picture_is_only_rejected_where_the_card_without_others_would_not_hold_it(
    others: Callable[[], int], share: Callable[[], int], error: type[Exception]
):
    gpu = FakeGpu(model := FakeModel(FakeOptions(oom_pixels=20_000)))
    assert gpu.memory is not None
    gpu.memory = replace(gpu.memory, others=others, share=share)
    with Engine(EngineOptions(), model=model, hardware=gpu) as engine, pytest.raises(error, match="800 x 600"):
        engine.submit(picture(600, 800)).result()


def test_the_warm_up_cuts_out_a_picture_with_an_outline_from_end_to_end():
    gpu = FakeGpu(model := FakeModel())
    with Engine(EngineOptions(batch=2), model=model, hardware=gpu) as engine:
        assert len(gpu.copies.downloads) == 1, "the rehearsal"
        cutout = engine.submit(textured_picture()).result().pixels
    alpha = cutout[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any() and (alpha == 255).any() and (alpha == 0).any()


@pytest.mark.parametrize(
    ("side", "into", "factor"),
    [(1080, 384, 1), (384, 384, 1), (MOST_REDUCTION * 10, 10, 1), (MOST_REDUCTION * 10 + 1, 10, 2), (72_000, 384, 4)],
)
def test_a_long_side_is_averaged_down_before_the_rest_is_antialiased(side: int, into: int, factor: int):
    assert prior_reduction(side, into) == factor
    assert side / factor / into <= MOST_REDUCTION


def test_a_picture_with_a_very_long_side_is_resized_as_by_antialiasing_alone():
    ramp = torch.arange(20_000).float().mul_(255 / 20_000).to(torch.uint8).expand(1, 1, 2, -1)
    found = resize_floats(ramp, (2, 100))
    assert (found[0, 0, 0] - torch.arange(100) * 2.55).abs().max() < 3
