"""What a worker process does with its engine before the first image."""

from __future__ import annotations

import pytest
import structlog

from inference import Engine, EngineOptions
from inference.models.fake import FakeModel
from tests.equipment.fake_gpu import FakeGpu
from watcher.worker.process import default_capacity, log_slowdowns


@pytest.mark.parametrize(
    ("device", "batch", "images"), [("cpu", 0, 6), ("cuda:0", 0, 66), ("cuda:0", 8, 18), ("cuda:0", 64, 130)]
)
def test_enough_images_are_in_flight_to_prepare_the_next_batch_and_no_more(
    device: str, batch: int, images: int
) -> None:
    model = FakeModel()
    card = None if device == "cpu" else FakeGpu(model)
    engine = Engine(EngineOptions(device=device, batch=batch), model=model, hardware=card)
    assert default_capacity(engine) == images


def test_each_reason_for_a_slower_device_is_logged() -> None:
    card = FakeGpu(model := FakeModel())
    card.slowdowns += ["no memory could be pinned", "no graphs"]
    with structlog.testing.capture_logs() as lines:
        log_slowdowns(Engine(EngineOptions(device="cuda:0"), model=model, hardware=card))
    assert [(line["event"], line["device"], line["log_level"]) for line in lines] == [
        ("device_not_optimal", "cuda:0", "warning")
    ] * 2
    assert [line["problem"] for line in lines] == card.slowdowns
