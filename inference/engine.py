"""The engine: one model on one device, to which any number of threads submit pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Self

import torch

from inference.batcher import Batcher, BatchLimits
from inference.device.core_lock import FifoLock
from inference.device.driver import initialise_cuda
from inference.device.hardware import CudaHardware, Hardware, device_uuid
from inference.device.stats import DeviceStats
from inference.device.thread import DeviceThread, InferenceRequest
from inference.engine_options import CPU_BATCH, GPU_BATCH, EngineOptions
from inference.errors import DeviceLost, ModelError
from inference.models import open_model
from inference.models.base import MattingModel
from inference.models.registry import resolve
from inference.picture import BatchStats, Cutout, Picture

__all__ = ["CPU_BATCH", "GPU_BATCH", "Engine", "EngineOptions", "open_device"]


@dataclass(frozen=True)
class SharedDevice:
    """What engines with different models have in common that run on one device in one process."""

    lost: threading.Event = field(default_factory=threading.Event)
    """Set when the device has failed for good."""
    turn: FifoLock = field(default_factory=FifoLock)
    """Held while a batch runs: the engines take turns, and none waits for more than one batch of each other."""
    core: FifoLock = field(default_factory=FifoLock)
    """The lock for CPU-bound work where all have a single core."""


class Engine:
    """Cuts pictures out on one device.

    `with Engine(options) as engine: engine.submit(picture).result()`. The constructor raises ModelError if the model or
    the device is not available. After a device failure all futures fail with DeviceLost and `lost` is set: only a new
    process helps. Tests pass their own `model`, `hardware` and `clock`; `on_batch` is called after each batch.
    `shared` is given to all engines that run on one device in this process.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        model: MattingModel | None = None,
        on_batch: Callable[[BatchStats], None] = lambda stats: None,
        clock: Callable[[], float] = time.monotonic,
        hardware: Hardware | None = None,
        shared: SharedDevice | None = None,
    ) -> None:
        self.options = options
        shared = shared or SharedDevice()
        hardware = hardware or _open_hardware(options)
        model = model or open_model(resolve(options.model, options.canvas, options.contract))
        self.core_lock = _core_lock(options, hardware, shared.core)
        """Hold it for CPU-bound work beside the engine, such as codecs: on a single core, it takes turns with them."""
        size = options.batch or (GPU_BATCH if hardware.needs_warmup else CPU_BATCH)
        limits = BatchLimits(size, options.batch_pixels, options.max_wait)
        self._batcher: Batcher[InferenceRequest] = Batcher(limits, clock)
        self._model = model
        self._thread = DeviceThread(
            hardware, model, self._batcher, options.threads, self.core_lock, on_batch, shared.turn, shared.lost
        )

    def start(self) -> float:
        """Load the model and warm the device up; returns the seconds that took. Raises ModelError or DeviceLost."""
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
        """Pictures in the largest batch at present; lower after memory has run out."""
        return self._batcher.limits.size

    @property
    def takes_rgbx(self) -> bool:
        """Whether the cut-out of a picture that has `rgbx` is made in its memory, which saves a copy."""
        return self._thread.device.type == "cpu"

    @property
    def places(self) -> int:
        """Pictures that must be submitted at a time to fill the largest batch."""
        return self.batch_limit

    @property
    def slowdowns(self) -> tuple[str, ...]:
        """Why the device is slower than it could be, a clause each; complete once the engine has started."""
        return (*self._thread.hardware.slowdowns, *self._model.slowdowns)

    @property
    def device_name(self) -> str:
        """The product name of a GPU, or `CPU`."""
        device = self._thread.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"

    @property
    def uuid(self) -> str:
        """The UUID of a GPU, empty for a CPU."""
        return device_uuid(self._thread.device)

    def submit(self, picture: Picture) -> Future[Cutout]:
        """Queue a picture; the future resolves to a cut-out of the same size. Callable from any thread.

        What is submitted before `start` waits for it. Raises EngineClosed or DeviceLost. The future fails with
        PictureTooLargeForDevice or DeviceLost.
        """
        if self.lost.is_set():
            raise DeviceLost(f"{self.options.device} has failed; start a new process.")
        future: Future[Cutout] = Future()
        canvas = self._model.canvas(picture.width, picture.height)
        request = InferenceRequest(self._thread.stage(picture), future)
        self._batcher.put(request, canvas, picture.width * picture.height)
        return future

    def announce(self) -> AbstractContextManager[Callable[[Picture], Future[Cutout]]]:
        """Announce a picture that is being prepared, for which a short batch waits. Yields `submit`, to be called once.

        Use it around decoding: pictures that are decoded at the same time then share a batch.
        """
        return self._batcher.announced(self.submit)

    def stats(self) -> DeviceStats:
        """Take a snapshot of the device's state; callable from any thread."""
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


def _core_lock(options: EngineOptions, hardware: Hardware, core: FifoLock) -> AbstractContextManager[None]:
    if hardware.needs_warmup:
        return FifoLock(options.codecs) if options.codecs else nullcontext()
    return core if options.threads == 1 else nullcontext()


def _open_hardware(options: EngineOptions) -> Hardware:
    device = open_device(options.device)
    if device.type != "cuda":
        return Hardware(device)
    return CudaHardware(device, options.cuda_graphs, options.sharing, options.pixels_in_flight)


def open_device(name: str) -> torch.device:
    """Return the device `cpu`, `cuda`, `cuda:1`, ...

    Raises ModelError if there is none of that name, or if its driver is too old for this build of torch.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"{name!r} is not a device; use cpu, cuda:0, ...") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ModelError(f"There is no {name}: {count} CUDA devices are visible. Use --devices cpu or auto.")
        initialise_cuda()
        return torch.device("cuda", device.index or 0)
    if device.type != "cpu":
        raise ModelError(f"{name}: only cpu and cuda devices are supported.")
    return device
