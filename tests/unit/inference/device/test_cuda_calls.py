"""Calls of torch.cuda and their order, recorded by stand-ins: the part of the GPU path that needs a GPU to run."""

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
from inference.device.cuda_graphs import WARMUP_RUNS, CudaCapture, CudaGraphs, varied_batch
from inference.device.hardware import CudaHardware, MemoryProbe
from inference.device.pinned_memory import Arena
from inference.device.transfers import CudaCopyStreams, StreamedTransfers, Transfers
from inference.models.fake import FakeModel

CPU = torch.device("cpu")
GRAPH = torch.cuda.graph


class Stand:
    """Stands in for torch.cuda: streams are names, and every call on one is recorded."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.current = "compute"
        self.names = iter(["first", "second"])
        self.fails = False

    def stream_named(self, name: str) -> Any:
        stand = self

        class Stream:
            def __init__(self) -> None:
                self.name = name

            def wait_stream(self, other: Any) -> None:
                stand.calls.append(f"{self.name} waits for {other.name}")

            def synchronize(self) -> None:
                stand.calls.append(f"the host waits for {self.name}")

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
                stand.calls.append(f"event on {stream.name}")

        return Event()

    def graph(self, *args: Any, **options: Any) -> Any:
        bound = inspect.signature(GRAPH).bind(*args, **options)
        self.calls.append(f"capturing on {bound.arguments['stream'].name}, {bound.arguments['capture_error_mode']}")
        return self._recording(bound.arguments["stream"])

    @contextmanager
    def _recording(self, stream: Any) -> Iterator[None]:
        """Like torch's: if its end fails, the stream is not restored."""
        self.current = stream.name
        yield
        if self.fails:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.calls.append("captured")

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, 1)

    def new_graph(self) -> Any:
        stand = self

        class Recorded:
            def replay(self) -> None:
                stand.calls.append(f"replayed on {stand.current}")

        return Recorded()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Replaces torch.cuda."""
    found = Stand()
    for name in ("current_stream", "stream", "graph", "graph_pool_handle"):
        monkeypatch.setattr(torch.cuda, name, getattr(found, name))
    for name, make in (("Stream", found.new_stream), ("Event", found.new_event), ("CUDAGraph", found.new_graph)):
        monkeypatch.setattr(torch.cuda, name, make)
    return found


def test_computation_waits_for_uploads_and_not_the_other_way_round(stand: Stand):
    streams = CudaCopyStreams(CPU)
    assert torch.equal(streams.upload(torch.ones(3)), torch.ones(3))
    assert stand.calls == ["compute waits for first"] and stand.current == "compute"


def test_a_download_waits_for_computation_and_its_event_follows_the_copy(stand: Stand):
    streams, into = CudaCopyStreams(CPU), torch.zeros(3)
    streams.download(torch.ones(3), into)
    assert stand.calls == ["second waits for compute", "event on second"]
    assert torch.equal(into, torch.ones(3))


def test_uploaded_memory_is_kept_until_the_host_and_the_next_upload_have_waited(stand: Stand):
    streams = CudaCopyStreams(CPU)
    streams.upload(torch.ones(3))
    assert len(streams._kept) == 1
    stand.calls.clear()
    streams.finish_uploads()
    assert stand.calls == ["the host waits for first", "first waits for compute"]
    assert streams._kept == []


class Steps(FakeModel):
    """Records on which stream it runs."""

    capturable = True

    def __init__(self, stand: Stand) -> None:
        super().__init__()
        self._stand = stand

    def coarse(self, batch: Tensor) -> tuple[Tensor, ...]:
        self._stand.calls.append(f"coarse on {self._stand.current}")
        return (batch * 0,)


def test_a_step_is_warmed_up_and_captured_on_its_own_stream_and_replayed_on_the_current_one(stand: Stand):
    graphs = CudaGraphs(Steps(stand))
    batch = varied_batch(2, (64, 64), torch.float32, CPU)
    assert graphs.capture(CudaCapture(CPU), [batch]) == ""
    assert stand.calls == [
        "first waits for compute",
        *["coarse on first"] * WARMUP_RUNS,
        "capturing on first, thread_local",
        "coarse on first",
        "captured",
        "compute waits for first",
        "coarse on compute",
        "replayed on compute",
    ]
    stand.calls.clear()
    with torch.inference_mode():
        graphs.coarse(batch)
    assert stand.calls == ["replayed on compute"]


def test_after_a_failed_capture_computation_stays_on_its_stream(stand: Stand):
    stand.fails = True
    graphs = CudaGraphs(Steps(stand))
    problem = graphs.capture(CudaCapture(CPU), [varied_batch(2, (64, 64), torch.float32, CPU)])
    assert "previous error during capture" in problem and len(graphs) == 0
    assert stand.current == "compute"


class Opened:
    """The calls that opening a device needs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device: object = None
        self.allocated, self.reserved, self.part = 100, 2, 1.0
        self.memory = (7, 9)
        for name, answer in {
            "set_device": self._set,
            "empty_cache": lambda: None,
            "mem_get_info": lambda device: self.memory,
            "memory_allocated": lambda device: self.allocated,
            "memory_reserved": lambda device: self.reserved,
            "set_per_process_memory_fraction": lambda part, device: setattr(self, "part", part),
            "max_memory_allocated": lambda device: self.allocated + 30,
            "reset_peak_memory_stats": lambda device: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(hardware_module, "open_gpu", lambda uuid: None)
        monkeypatch.setattr(hardware_module, "device_uuid", lambda device: "")

    def _set(self, device: object) -> None:
        self.device = device


@pytest.mark.parametrize("graphs", [True, False])
def test_a_gpu_is_opened_with_streams_and_memory_and_with_graphs_if_they_are_enabled(
    graphs: bool, stand: Stand, monkeypatch: pytest.MonkeyPatch
):
    opened, gpu = Opened(monkeypatch), CudaHardware(CPU, graphs)
    stand.names = iter(["first", "second", "third"])
    monkeypatch.setattr(
        hardware_module, "allocate_arena", lambda pixels: Arena(torch.zeros(1 << 16, dtype=torch.uint8))
    )
    gpu.open()
    assert opened.device == CPU and isinstance(gpu.transfers, StreamedTransfers) and gpu.slowdowns == []
    assert (gpu.capture is not None) is graphs
    assert isinstance(gpu.memory, MemoryProbe) and (gpu.memory.free(), gpu.memory.peak_during(lambda: None)) == (7, 30)
    assert [gpu.slots_for(count) for count in (1, 2, 3, 5, 16, 17)] == [1, 2, 4, 8, 16, 32]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_pinned_memory_transfers_are_synchronous_and_that_is_reported(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
):
    Opened(monkeypatch)
    gpu = CudaHardware(CPU, graphs=False)
    gpu.open()  # where there is no GPU, nothing can be pinned
    assert type(gpu.transfers) is Transfers
    assert ["pinned" in note for note in gpu.slowdowns] == [True]
    assert np.array_equal(gpu.transfers.download(torch.ones(2, 2, 4)).pixels, np.ones((2, 2, 4)))


def test_workers_that_share_a_gpu_divide_its_memory(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    opened, gpu = Opened(monkeypatch), CudaHardware(CPU, graphs=False, sharing=3)
    opened.memory, opened.reserved = (700, 900), 20
    gpu.open()
    assert gpu.memory is not None and opened.part == pytest.approx(1 / 3)
    assert (gpu.memory.share(), gpu.memory.free(), gpu.memory.others()) == (300, 280, 180)


def test_memory_that_onnxruntime_keeps_counts_though_torch_does_not_see_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
):
    opened, gpu = Opened(monkeypatch), CudaHardware(CPU, graphs=False)
    opened.memory = (700, 900)
    gpu.open()

    def grow() -> None:
        opened.memory = (650, 900)

    assert gpu.memory is not None and gpu.memory.peak_during(grow) == 30 + 50
