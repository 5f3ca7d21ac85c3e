"""The engine of the fake model that needs no torch."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine import Engine
from inference.engine_options import EngineOptions
from inference.errors import EngineClosed
from inference.fake_engine import FakeEngine, is_enough
from inference.models.registry import resolve
from inference.picture import BatchStats, Picture
from inference.review.doubts import Doubt, Review
from tests.equipment.support import wait_until


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """An object with a hard edge on a light background."""
    pixels = np.full((height, width, 3), 245, np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (200, 40, 90)
    return pixels


def started(name: str = "fake", batches: list[BatchStats] | None = None, **options: Any) -> FakeEngine:
    done = batches if batches is not None else []
    engine = FakeEngine(EngineOptions(model=name, **options), resolve(name), done.append)
    engine.start()
    return engine


@pytest.mark.parametrize("shape", [(40, 48), (1, 1), (300, 70)])
def test_its_cut_outs_are_those_of_the_real_engine(shape: tuple[int, int]) -> None:
    picture = Picture(photo(*shape))
    engine = started()
    ours = engine.submit(picture).result(60)
    engine.close()
    with Engine(EngineOptions(model="fake")) as real:
        theirs = real.submit(picture).result(60)
    assert np.array_equal(ours.pixels, theirs.pixels)
    assert ours.stats is not None and theirs.stats is not None
    assert (ours.stats.size, ours.stats.slots, ours.stats.device) == (1, 1, theirs.stats.device)


def test_pictures_that_wait_share_a_batch_and_those_in_progress_are_counted() -> None:
    batches: list[BatchStats] = []
    engine = started("fake:delay=0.1", batches, batch=3)
    futures = [engine.submit(Picture(photo(40, 48))) for _ in range(7)]
    wait_until(lambda: engine.stats().running)
    assert engine.stats().busy_since is not None
    for future in futures:
        future.result(60)
    engine.close()
    assert sum(batch.size for batch in batches) == 7
    assert max(batch.size for batch in batches) == 3
    assert engine.stats().running == 0 and engine.stats().busy_seconds > 0.2


def test_after_its_end_it_takes_no_picture() -> None:
    engine = started(threads=1)
    with engine.announce() as submit, engine.core_lock:
        assert isinstance(engine.lost, threading.Event)
    engine.close()
    with pytest.raises(EngineClosed):
        submit(Picture(photo(8, 8)))


@pytest.mark.parametrize(
    ("model", "device", "enough"),
    [
        ("fake", "cpu", True),
        ("fake:delay=1,load_delay=2,side=192", "cpu", True),
        ("fake", "cuda:0", False),
        ("fake:fail_at=1", "cpu", False),
        ("fake:oom_above=2", "cpu", False),
        ("fake:oom_pixels=9", "cpu", False),
        ("nano", "cpu", False),
    ],
)
def test_failures_and_gpus_are_left_to_the_real_engine(model: str, device: str, enough: bool) -> None:
    assert is_enough(resolve(model), device) is enough


def test_a_worker_does_not_load_torch_for_it() -> None:
    """Which takes longer than everything else at its start."""
    code = "import sys, watcher.worker.process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_records_a_confidence_if_it_is_told_to() -> None:
    dark, light = (np.full((4, 4, 3), value, np.uint8) for value in (51, 204))
    engine = started("fake:confidence=0.5")
    reviews = [engine.submit(Picture(pixels)).result(60).review for pixels in (dark, light)]
    engine.close()
    assert reviews == [Review(0.1, (Doubt.LOW_CONTRAST,)), Review(0.4)]
