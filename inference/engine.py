"""The engine: one device, one model, many threads that submit pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Self

import torch

from inference.batcher import Batcher, BatchLimits
from inference.device.core_lock import FifoLock
from inference.device.hardware import Hardware, device_uuid, hardware_of
from inference.device.thread import DeviceStats, DeviceThread, Task
from inference.errors import DeviceLost, ModelError
from inference.models import open_model
from inference.models.base import MattingModel
from inference.models.registry import resolve
from inference.picture import BatchStats, Cutout, Picture

CPU_BATCH = 4
"""Larger batches make nothing faster on a CPU, but cost memory."""
GPU_BATCH = 64
"""At most: how many of these fit is measured when the device starts."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine runs on and how. `batch` 0 and `threads` 0 leave the choice to the engine."""

    device: str = "cpu"
    model: str = "nano"
    canvas: int | None = None
    batch: int = 0
    batch_pixels: int = 64_000_000
    max_wait: float = 0.020
    threads: int = 0
    contract: str = ""
    """What somebody else's model is fed, where its file does not say."""
    cuda_graphs: bool = True
    """Whether the coarse step is recorded where the device and the model allow that."""


class Engine:
    """`with Engine(options) as engine: engine.submit(picture).result()`.

    Raises ModelError where the weights or the device are not to be had. When the device fails, every promise fails with
    DeviceLost, `lost` is set, and only a new process helps.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        model: MattingModel | None = None,
        on_batch: Callable[[BatchStats], None] = lambda stats: None,
        clock: Callable[[], float] = time.monotonic,
        hardware: Hardware | None = None,
    ) -> None:
        self.options = options
        hardware = hardware or hardware_of(open_device(options.device), options.cuda_graphs)
        model = model or open_model(resolve(options.model, options.canvas, options.contract))
        one_core = options.threads == 1 and not hardware.warms_up
        self.core_lock: AbstractContextManager[None] = FifoLock() if one_core else nullcontext()
        """To be held by whoever computes beside the engine: where a core is all that both have, one does at a time."""
        size = options.batch or (GPU_BATCH if hardware.warms_up else CPU_BATCH)
        self._batcher: Batcher[Task] = Batcher(BatchLimits(size, options.batch_pixels, options.max_wait), clock)
        self._model = model
        self._thread = DeviceThread(hardware, model, self._batcher, options.threads, self.core_lock, on_batch)

    def start(self) -> float:
        """Load and warm up; returns the seconds it took. Raises ModelError or DeviceLost."""
        self._thread.start()
        try:
            return self._thread.ready.result()
        except ModelError:
            raise
        except Exception as error:
            raise DeviceLost(f"{self.options.device} could not be started: {error}") from error

    @property
    def lost(self) -> threading.Event:
        """Set when the device has failed for good."""
        return self._thread.lost

    @property
    def batch_limit(self) -> int:
        """The largest batch at present."""
        return self._batcher.limits.size

    @property
    def slowdowns(self) -> tuple[str, ...]:
        """Why the device is slower than it could be, a sentence each; complete once the engine has started."""
        return tuple(self._thread.hardware.slowdowns)

    @property
    def device_name(self) -> str:
        """The device's name as people know it."""
        device = self._thread.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"

    @property
    def uuid(self) -> str:
        """The device's UUID, empty for a CPU."""
        return device_uuid(self._thread.device)

    def submit(self, picture: Picture) -> Future[Cutout]:
        """Promise a cut-out of the picture's own size. Raises EngineClosed or DeviceLost."""
        if self.lost.is_set():
            raise DeviceLost(f"{self.options.device} has failed; start a new process.")
        future: Future[Cutout] = Future()
        bucket = self._model.canvas(picture.width, picture.height)
        self._batcher.put(Task(self._thread.staged(picture), future), bucket, picture.width * picture.height)
        return future

    @contextmanager
    def announce(self) -> Iterator[Callable[[Picture], Future[Cutout]]]:
        """While inside, a picture is on its way: a short batch waits for it. Yields `submit`, to be called once."""
        self._batcher.announce(1)
        arrived = threading.Lock()

        def submit(picture: Picture) -> Future[Cutout]:
            future = self.submit(picture)
            if arrived.acquire(blocking=False):
                self._batcher.announce(-1)
            return future

        try:
            yield submit
        finally:
            if arrived.acquire(blocking=False):
                self._batcher.announce(-1)

    def stats(self) -> DeviceStats:
        """How the device is."""
        return self._thread.stats()

    def close(self) -> None:
        """Finish what was submitted, then end the device thread."""
        self._batcher.close()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_device(name: str) -> torch.device:
    """`cpu`, `cuda:1`, ... Raises ModelError where there is no such device."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"{name!r} is no device; give cpu, cuda:0, ...") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ModelError(f"There is no {name}: {count} CUDA devices are visible. Use --devices cpu or auto.")
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        raise ModelError(f"{name}: only cpu and cuda devices are supported.")
    return device
