"""An engine for the fake model on a CPU that needs no torch, so that a worker starts in a third of the time.

A fake model that is to fail runs in the real engine, and so does one on a GPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference.batcher import Batch, Batcher, BatchLimits
from inference.canvas import canvas_size
from inference.device.core_lock import FifoLock
from inference.device.stats import DeviceStats
from inference.engine_options import CPU_BATCH, EngineOptions
from inference.models.fake_options import parse_options
from inference.picture import BatchStats, Cutout, Picture
from inference.review.doubts import Doubt, Review

if TYPE_CHECKING:
    from inference.models.entry import ModelEntry


def is_enough(model: ModelEntry, device: str) -> bool:
    """Whether this engine can run the model. Raises ModelError for unknown options of the fake model."""
    return model.kind == "fake" and device == "cpu" and not parse_options(model.name).fails


@dataclass(frozen=True)
class Request:
    """A picture, and the future of its cut-out."""

    picture: Picture
    future: Future[Cutout]


class FakeEngine:
    """See `Engine`, whose methods these are."""

    device_name = "CPU"
    uuid = ""
    slowdowns: tuple[str, ...] = ()

    takes_rgbx = False
    """See `Engine.takes_rgbx`."""

    def __init__(
        self, options: EngineOptions, model: ModelEntry, on_batch: Callable[[BatchStats], None] = lambda stats: None
    ) -> None:
        self.options, self._on_batch = options, on_batch
        self._fake = parse_options(model.name)
        self.lost = threading.Event()
        """Never set."""
        self.core_lock: AbstractContextManager[None] = FifoLock() if options.threads == 1 else nullcontext()
        limits = BatchLimits(options.batch or CPU_BATCH, options.batch_pixels, options.max_wait)
        self._batcher: Batcher[Request] = Batcher(limits)
        self._thread = threading.Thread(target=self._run, daemon=True, name="device-cpu")
        self._busy, self._busy_since = 0.0, None  # type: tuple[float, float | None]
        self._running: Sequence[Request] = ()

    def start(self) -> float:
        """Start the device thread; returns the seconds that loading took."""
        time.sleep(self._fake.load_delay)
        self._thread.start()
        return self._fake.load_delay

    @property
    def batch_limit(self) -> int:
        """Pictures in the largest batch."""
        return self._batcher.limits.size

    @property
    def places(self) -> int:
        """See `Engine.places`."""
        return self.batch_limit

    def announce(self) -> AbstractContextManager[Callable[[Picture], Future[Cutout]]]:
        """See `Engine.announce`."""
        return self._batcher.announced(self.submit)

    def submit(self, picture: Picture) -> Future[Cutout]:
        """See `Engine.submit`."""
        request = Request(picture, Future())
        canvas = canvas_size(picture.width, picture.height, int(self._fake.side))
        self._batcher.put(request, canvas, picture.width * picture.height)
        return request.future

    def stats(self) -> DeviceStats:
        """See `Engine.stats`."""
        since = self._busy_since
        busy = self._busy + (time.monotonic() - since if since is not None else 0.0)
        running = sum(not request.future.done() for request in self._running)
        return DeviceStats({}, self.batch_limit, 0, busy, since, running)

    def close(self) -> None:
        """Finish what was submitted, then end the device thread."""
        self._batcher.close()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._batcher.take()) is not None:
            self._run_batch(batch)
            del batch  # its pictures would stay in memory until the next one arrives

    def _run_batch(self, batch: Batch[Request]) -> None:
        started = self._busy_since = time.monotonic()
        self._running = batch.items
        time.sleep(self._fake.delay)
        for request in batch.items:
            with self.core_lock:
                pixels = cut_out(request.picture.pixels)
            if request.future.set_running_or_notify_cancel():
                review = _review(pixels, self._fake.confidence)
                request.future.set_result(Cutout(pixels, _stats(batch, started), review))
        self._busy_since, self._running = None, ()
        self._busy += time.monotonic() - started
        self._on_batch(_stats(batch, started))


def _stats(batch: Batch[Request], started: float) -> BatchStats:
    size = len(batch.items)
    return BatchStats(size, size, batch.trigger, "cpu", batch.wait_seconds, time.monotonic() - started)


def _review(pixels: NDArray[np.uint8], highest: float) -> Review | None:
    """What is recorded of a cut-out, H x W x 4: a confidence of `highest` at most; None if that is 0."""
    if not highest:
        return None
    confidence = highest * float(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, :3].mean()) / 255
    return Review(confidence, (Doubt.LOW_CONTRAST,) if confidence < highest / 2 else ())


def cut_out(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return H x W x 4 for H x W x 3: alpha is 0 where a pixel has the mean colour of the corners, see `fake`."""
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=0, dtype=np.float32)
    distance = np.abs(pixels.astype(np.float32) - corners).max(axis=2) / 255
    alpha = np.rint(np.clip(distance * 8 - 0.5, 0, 1) * 255).astype(np.uint8)
    return np.dstack((pixels, alpha))
