"""What a worker makes of its engine before the first image."""

from __future__ import annotations

import pytest
import structlog

from inference import Engine, EngineOptions
from inference.models.fake import FakeModel
from tests.equipment.fake_gpu import FakeGpu
from watcher.worker.process import in_flight, warn


@pytest.mark.parametrize(
    ("device", "batch", "images"), [("cpu", 0, 6), ("cuda:0", 0, 66), ("cuda:0", 8, 18), ("cuda:0", 64, 130)]
)
def test_the_next_batch_is_prepared_while_one_is_computed_but_not_all_images_are_held(
    device: str, batch: int, images: int
) -> None:
    model = FakeModel()
    card = None if device == "cpu" else FakeGpu(model)
    engine = Engine(EngineOptions(device=device, batch=batch), model=model, hardware=card)
    assert in_flight(engine) == images


def test_what_a_device_could_not_have_is_in_the_log() -> None:
    card = FakeGpu(model := FakeModel())
    card.slowdowns += ["no memory could be pinned", "no graphs"]
    with structlog.testing.capture_logs() as lines:
        warn(Engine(EngineOptions(device="cuda:0"), model=model, hardware=card))
    assert [(line["event"], line["device"], line["log_level"]) for line in lines] == [
        ("device_slower", "cuda:0", "warning")
    ] * 2
    assert [line["problem"] for line in lines] == card.slowdowns
