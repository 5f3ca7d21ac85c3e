"""Section `cascade`: which ways are measured, what is said of them, and how to get a model that is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.engine import EngineOptions
from inference.models.fake import FakeModel
from inference.picture import Picture
from watcher.commands.bench.context import BenchContext
from watcher.commands.bench.device_groups import device_groups
from watcher.commands.bench.engine.cascade_timing import CASCADE, FAST, STRONG, measure_cascade, sending
from watcher.commands.bench.sections.cascade import findings, measure, ways_table
from watcher.commands.bench.workload import QUICK

FOUND = {
    FAST: {"wall": [1.0, 2.0], "cpu": [1.0, 1.0]},
    STRONG: {"wall": [10.0, 20.0], "cpu": [9.0, 9.0]},
    CASCADE: {"wall": [2.5, 5.0], "cpu": [2.0, 2.0]},
}


@pytest.mark.parametrize(("sent", "count"), [(1, 7), (3, 10), (0, 5), (4, 4), (29, 100)])
def test_as_many_as_wanted_go_on_in_each_repeat(sent: int, count: int) -> None:
    route = sending(sent, count)
    assert [sum(route(0.9) for _ in range(count)) for _ in range(5)] == [sent] * 5


def test_both_models_are_measured_alone_and_together_and_so_many_pictures_go_on() -> None:
    pixels = np.full((60, 80, 3), 230, np.uint8)
    pixels[15:40, 20:50] = 30
    fast, strong = FakeModel(), FakeModel()
    times = measure_cascade(EngineOptions(batch=1), fast, strong, [Picture(pixels)] * 5, sent=2, repeats=3)
    assert list(times) == [FAST, STRONG, CASCADE]
    assert all(len(found.wall) == len(found.cpu) == 3 and min(found.wall) > 0 for found in times.values())
    # Each way runs once before; a model's own warm-up batches come first.
    assert sum(strong.batches[-3 * 7 :]) == 3 * 7, "five alone and two of the cascade, in each repeat"


def test_the_ratios_are_those_of_each_repeat() -> None:
    assert findings(FOUND, 7, 1) == (
        "A cascade that sends 14% of the pictures on takes 2.50 times as long as the fast model alone, and 25% of the "
        "time of the strong one.",
    )
    assert [row[0] for row in ways_table(FOUND, 7).rows] == [FAST, STRONG, CASCADE]


def test_without_the_strong_models_file_the_report_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    section = measure(BenchContext(QUICK, device_groups("cpu", 1), "fake", None, 1, tmp_path))
    assert section.tables == () and "alphadrop models pull u2net" in section.text[0]
