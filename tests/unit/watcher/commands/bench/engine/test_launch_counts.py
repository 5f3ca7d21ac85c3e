"""What would be launches of a card is counted on the CPU, and stays within a budget."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from inference import Picture
from inference.models import open_model
from inference.models.registry import resolve
from inference.synthetic import render_sample
from watcher.commands.bench.engine.launch_counts import LaunchCounts, StandIn, count_launches
from watcher.commands.bench.sections.launches import STEPS, total

CPU = torch.device("cpu")
MOST_LAUNCHES = 50
"""Launches a picture in a batch of 8, copies included; the replay of the coarse step's CUDA graph is one a batch."""
MOST_KERNELS = 100
"""The same where CUDA graphs are not used, so that the coarse step launches each of its kernels."""
MOST_WAITS = 6
"""How often the host waits for the card in a batch."""


def counted(run: object) -> tuple[int, int]:
    assert callable(run)
    counts = LaunchCounts()
    with torch.inference_mode(), counts("step"):
        run()
    return counts.launches["step"], counts.waits["step"]


def test_a_batch_of_eight_stays_within_its_budget():
    scene = render_sample(np.random.default_rng(3), 360, 640).image
    pictures = [Picture(np.ascontiguousarray(np.roll(scene, 40 * i, 1).repeat(3, 0).repeat(3, 1))) for i in range(8)]
    found = count_launches(open_model(resolve("nano")), StandIn(CPU), pictures)
    _, kernels, waits = total(8, {"launches": found.launches, "waits": found.waits})
    _, launches, _ = total(8, {"launches": {**found.launches, "coarse": 1}, "waits": found.waits})
    assert (pictures[0].width, pictures[0].height) == (1920, 1080)
    assert launches <= MOST_LAUNCHES and kernels <= MOST_KERNELS and waits <= MOST_WAITS
    assert set(found.launches) == set(STEPS), "a step was not counted"


def test_views_and_allocations_launch_nothing():
    x = torch.ones(2, 3, 4, 5)
    assert counted(lambda: torch.empty_like(x.movedim(1, -1)[0, ::2].view(torch.int32))) == (0, 0)


def test_each_operation_is_a_launch_and_some_are_several():
    x, weight, matrix, bias = torch.ones(1, 3, 8, 8), torch.ones(2, 3, 3, 3), torch.ones(2, 8), torch.ones(2)
    assert counted(lambda: (x + 1).mul_(2)) == (2, 0)
    assert counted(lambda: F.conv2d(x, weight)) == (1, 0)
    assert counted(lambda: F.conv2d(x, weight, bias)) == (2, 0)
    assert counted(lambda: F.linear(x, matrix, bias)) == (1, 0)
    assert counted(lambda: F.linear(x, matrix[:1], bias[:1])) == (2, 0), "cuBLAS adds no bias to a single column"
    assert counted(lambda: F.interpolate(x, (4, 4), mode="bilinear")) == (1, 0)
    assert counted(lambda: F.pad(x, (1, 1))) == (2, 0)
    assert counted(lambda: x.float()) == (1, 0), "on a card it has 16 bits"


def test_what_depends_on_the_data_waits():
    x = torch.tensor([0.0, 1.0])
    for run in (x.nonzero, x[0].item, x.cpu, x.numpy, x.tolist, lambda: x[x > 0], lambda: bool(x[0] > 0)):
        assert counted(run)[1] == 1
    assert counted(lambda: x[torch.tensor([1])])[1] == 0


def test_a_step_within_a_step_is_counted_apart():
    counts, x = LaunchCounts(), torch.ones(3)
    with counts("outer"):
        x.add(1)
        with counts("inner"):
            x.add(1).add(1)
        x.add(1)
    assert counts.launches == {"outer": 2, "inner": 2}
