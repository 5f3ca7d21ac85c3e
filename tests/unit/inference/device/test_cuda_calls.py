"""What is asked of torch.cuda, and in which order, by stand-ins that note it: the part that no CPU can run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.device import hardware as hardware_module
from inference.device.batch_fitting import Memory
from inference.device.cuda_graphs import WARM_UPS, CudaGraphs, CudaRecorder, pattern
from inference.device.hardware import Cuda
from inference.device.pinned_memory import Arena
from inference.device.transfers import CudaLanes, StreamedTransfers, Transfers
from inference.models.fake import FakeModel

CPU = torch.device("cpu")
GRAPH = torch.cuda.graph


class Stand:
    """In place of torch.cuda: streams are names, and everything that happens on one is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.current = "compute"
        self.names = iter(["first", "second"])
        self.refuses = False

    def stream_named(self, name: str) -> Any:
        stand = self

        class Stream:
            def __init__(self) -> None:
                self.name = name

            def wait_stream(self, other: Any) -> None:
                stand.notes.append(f"{self.name} waits for {other.name}")

            def synchronize(self) -> None:
                stand.notes.append(f"the host waits for {self.name}")

        return Stream()

    def new_stream(self, device: torch.device) -> Any:
        return self.stream_named(next(self.names))

    def current_stream(self, device: torch.device) -> Any:
        return self.stream_named(self.current)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    def new_event(self, blocking: bool) -> Any:
        stand = self

        class Event:
            def record(self, stream: Any) -> None:
                stand.notes.append(f"mark on {stream.name}")

        return Event()

    def graph(self, *args: Any, **options: Any) -> Any:
        bound = inspect.signature(GRAPH).bind(*args, **options)
        self.notes.append(f"recording on {bound.arguments['stream'].name}, {bound.arguments['capture_error_mode']}")
        return self._recording(bound.arguments["stream"])

    @contextmanager
    def _recording(self, stream: Any) -> Iterator[None]:
        """As torch's: where its end fails, the stream stays."""
        self.current = stream.name
        yield
        if self.refuses:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.notes.append("recorded")

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, 1)

    def new_graph(self) -> Any:
        stand = self

        class Recorded:
            def replay(self) -> None:
                stand.notes.append(f"replayed on {stand.current}")

        return Recorded()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Instead of torch.cuda."""
    found = Stand()
    for name in ("current_stream", "stream", "graph", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, getattr(found, name))
    for name, make in (("Stream", found.new_stream), ("Event", found.new_event), ("CUDAGraph", found.new_graph)):
        monkeypatch.setattr(torch.cuda, name, make)
    return found


def test_what_is_computed_waits_for_what_goes_up_and_not_the_other_way(stand: Stand):
    lanes = CudaLanes(CPU)
    assert torch.equal(lanes.up(torch.ones(3)), torch.ones(3))
    assert stand.notes == ["compute waits for first"] and stand.current == "compute"


def test_what_comes_down_waits_for_what_was_computed_and_is_marked_after_the_copy(stand: Stand):
    lanes, into = CudaLanes(CPU), torch.zeros(3)
    lanes.down(torch.ones(3), into)
    assert stand.notes == ["second waits for compute", "mark on second"]
    assert torch.equal(into, torch.ones(3))


def test_memory_that_went_up_is_kept_until_the_host_has_waited_and_the_next_copy_must(stand: Stand):
    lanes = CudaLanes(CPU)
    lanes.up(torch.ones(3))
    assert len(lanes._kept) == 1
    stand.notes.clear()
    lanes.settle()
    assert stand.notes == ["the host waits for first", "first waits for compute"]
    assert lanes._kept == []


class Steps(FakeModel):
    """Notes on which stream it runs."""

    recordable = True

    def __init__(self, stand: Stand) -> None:
        super().__init__()
        self._stand = stand

    def coarse(self, batch: Tensor) -> tuple[Tensor, ...]:
        self._stand.notes.append(f"coarse on {self._stand.current}")
        return (batch * 0,)


def test_a_step_is_warmed_up_and_recorded_on_a_stream_of_its_own_and_replayed_on_the_one_that_computes(stand: Stand):
    graphs = CudaGraphs(Steps(stand))
    batch = pattern(2, (64, 64), torch.float32, CPU)
    assert graphs.record(CudaRecorder(CPU), [batch]) == ""
    assert stand.notes == [
        "first waits for compute",
        *["coarse on first"] * WARM_UPS,
        "recording on first, thread_local",
        "coarse on first",
        "recorded",
        "compute waits for first",
        "coarse on compute",
        "replayed on compute",
    ]
    stand.notes.clear()
    with torch.inference_mode():
        graphs.coarse(batch)
    assert stand.notes == ["replayed on compute"]


def test_where_recording_fails_what_is_computed_stays_on_its_stream(stand: Stand):
    stand.refuses = True
    graphs = CudaGraphs(Steps(stand))
    problem = graphs.record(CudaRecorder(CPU), [pattern(2, (64, 64), torch.float32, CPU)])
    assert "previous error during capture" in problem and len(graphs) == 0
    assert stand.current == "compute"


class Opened:
    """A card of which only this much is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device: object = None
        self.allocated = 100
        for name, answer in {
            "set_device": self._set,
            "empty_cache": lambda: None,
            "mem_get_info": lambda device: (7, 9),
            "memory_allocated": lambda device: self.allocated,
            "max_memory_allocated": lambda device: self.allocated + 30,
            "reset_peak_memory_stats": lambda device: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(hardware_module, "open_gpu", lambda uuid: None)
        monkeypatch.setattr(hardware_module, "device_uuid", lambda device: "")

    def _set(self, device: object) -> None:
        self.device = device


@pytest.mark.parametrize("graphs", [True, False])
def test_a_card_is_opened_with_streams_and_memory_and_with_graphs_if_they_are_wanted(
    graphs: bool, stand: Stand, monkeypatch: pytest.MonkeyPatch
):
    opened, card = Opened(monkeypatch), Cuda(CPU, graphs)
    stand.names = iter(["first", "second", "third"])
    monkeypatch.setattr(hardware_module, "pinned_arena", lambda: Arena(torch.zeros(1 << 16, dtype=torch.uint8)))
    card.open()
    assert opened.device == CPU and isinstance(card.transfers, StreamedTransfers) and card.slowdowns == []
    assert (card.recorder is not None) is graphs
    assert isinstance(card.memory, Memory) and (card.memory.free(), card.memory.most_during(lambda: None)) == (7, 30)
    assert [card.slots(count) for count in (1, 2, 3, 5, 16, 17)] == [1, 2, 4, 8, 16, 32]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_pinned_memory_it_goes_on_and_says_so(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    Opened(monkeypatch)
    card = Cuda(CPU, graphs=False)
    card.open()  # where there is no GPU, nothing can be pinned
    assert type(card.transfers) is Transfers
    assert ["pinned" in note for note in card.slowdowns] == [True]
    assert np.array_equal(card.transfers.down(torch.ones(2, 2, 4)).pixels, np.ones((2, 2, 4)))
