"""The device thread: the only one that touches the model and the device."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.batcher import Batch, Batcher
from inference.device.cuda_graphs import CudaGraphs
from inference.device.hardware import Hardware, device_memory
from inference.device.transfers import Download, Transfers
from inference.device.warmup import Rehearsal
from inference.errors import DeviceLost, PictureTooLargeForDevice
from inference.foreground import cut_out
from inference.models.base import MattingModel
from inference.picture import BatchStats, Cutout, Picture
from inference.resampling import resize_pixels, to_canvas
from inference.rgba import rgb_to_rgbx

CLEAN_BATCHES = 50
"""After an out-of-memory the batch limit doubles again after so many batches without one."""

SMALLEST_SCALE = 0.25
"""A picture that does not fit alone is tried with less detail for the edge head, down to this."""


@dataclass(frozen=True)
class Task:
    """A picture and the promise of its cut-out."""

    picture: Picture
    future: Future[Cutout]


@dataclass(frozen=True)
class DeviceStats:
    """A snapshot. Memory is in bytes by kind, see `device_memory`; those that the device knows."""

    memory: dict[str, int] = field(default_factory=dict)
    batch_limit: int = 0
    out_of_memory: int = 0
    busy_seconds: float = 0.0
    busy_since: float | None = None
    """When (monotonic) the batch that is running now was started; None when idle."""
    running: int = 0
    """Pictures that are on the device and not done."""
    gpu: dict[str, float] = field(default_factory=dict)
    """What the driver says of the card, see `nvml.Card.figures`."""


class DeviceThread(threading.Thread):
    """Loads the model, warms it up, then runs batches until the batcher is closed and empty.

    `ready` resolves when warm, or fails with what went wrong. Any error that is not out of memory ends the thread: all
    that waits fails with DeviceLost, and `lost` is set.
    """

    def __init__(
        self,
        hardware: Hardware,
        model: MattingModel,
        batcher: Batcher[Task],
        threads: int,
        core_lock: AbstractContextManager[None],
        on_batch: Callable[[BatchStats], None],
    ) -> None:
        super().__init__(name=f"device-{hardware.device}", daemon=True)
        self.hardware, self.device = hardware, hardware.device
        self.graphs = CudaGraphs(model)
        self.ready: Future[float] = Future()
        self.lost = threading.Event()
        self._model, self._batcher, self._threads, self._on_batch = model, batcher, threads, on_batch
        self._core_lock = core_lock
        self._most = self._limit = batcher.limits.size
        self._clean = self._out_of_memory = 0
        self._busy = 0.0
        self._since: float | None = None
        self._running: Sequence[Task] = ()

    def run(self) -> None:
        """Never raises: what goes wrong goes to those who wait."""
        try:
            self._warm_up()
            while (batch := self._batcher.take()) is not None:
                self._run(batch)
                del batch  # or its pictures stay in memory until the next one comes
        except BaseException as error:
            self._fail(error)

    def stats(self) -> DeviceStats:
        """How the device is; callable from any thread."""
        since = self._since
        running = time.monotonic() - since if since is not None else 0.0
        return DeviceStats(
            device_memory(self.device, self.hardware.gpu),
            self._limit,
            self._out_of_memory,
            self._busy + running,
            since,
            sum(not task.future.done() for task in self._running),
            self.hardware.gpu.readings() if self.hardware.gpu else {},
        )

    def _warm_up(self) -> None:
        """Load, and run every shape once, so that no picture waits for a first time; a CPU has little to warm."""
        started = time.monotonic()
        if self._threads:
            torch.set_num_threads(self._threads)
        self.hardware.open()
        self._model.load(self.device)
        rehearsal = Rehearsal(self._model, self.hardware)
        rehearsal.run(rehearsal.sizes[0], 1)
        if self.hardware.warms_up:
            self._warm_all(rehearsal)
        self.ready.set_result(time.monotonic() - started)

    def _warm_all(self, rehearsal: Rehearsal) -> None:
        """Every canvas with one picture and with the largest batch, whose size is found here."""
        self._most = rehearsal.estimate(self._most)
        self._set_limit(self._most)
        for size in rehearsal.sizes:
            rehearsal.run(size, 1)
            while not rehearsal.fits(size, self._limit):
                self._recover()
        rehearsal.record(self.graphs, self._limit)

    def slots(self, count: int) -> int:
        """The batch's size on the device."""
        return self.hardware.slots(count)

    def staged(self, picture: Picture) -> Picture:
        """The picture where the device takes it from; callable from any thread."""
        return self.hardware.transfers.staged(picture)

    def _run(self, batch: Batch[Task]) -> None:
        """One batch, in as many pieces as memory demands."""
        started = self._since = time.monotonic()
        self._running = batch.items
        pieces, scale = [batch.items], 1.0
        while pieces:
            tasks = pieces.pop()
            if len(tasks) > self._limit:  # an earlier piece has found the limit to be lower
                pieces += [tasks[self._limit :], tasks[: self._limit]]
                continue
            if self._attempt(batch, tasks, scale):
                continue
            tasks = [task for task in tasks if not task.future.done()]
            self._recover()
            if not tasks:
                continue
            if len(tasks) > 1:
                pieces.append(tasks)
            elif scale > SMALLEST_SCALE:
                scale /= 2
                pieces.append(tasks)
                continue
            else:
                self._too_large(tasks)
            scale = 1.0
        self._since, self._running = None, ()
        seconds = time.monotonic() - started
        self._busy += seconds
        self._on_batch(self._stats(batch, seconds))
        self._count_clean()

    def _attempt(self, batch: Batch[Task], tasks: Sequence[Task], scale: float) -> bool:
        """Run the tasks; False when there was not the memory for it (those done before that are done)."""
        try:
            with torch.inference_mode():
                self._infer(batch, tasks, scale)
            return True
        except (torch.OutOfMemoryError, MemoryError):
            return False
        except RuntimeError as error:
            if "allocate memory" not in str(error):  # the CPU's allocator has no class of its own for it
                raise
            return False
        finally:
            self.hardware.transfers.settle()

    def _infer(self, batch: Batch[Task], tasks: Sequence[Task], scale: float) -> None:
        started, transfers = time.monotonic(), self.hardware.transfers
        size = self._model.canvas(tasks[0].picture.width, tasks[0].picture.height)
        with self._core_lock:
            pictures, canvases = self._look(tasks, size)
            coarse = self.graphs.coarse(canvases)
        downloads: deque[tuple[Task, Download]] = deque()
        try:
            for index, task in enumerate(tasks):
                picture, pictures[index] = pictures[index], None  # type: ignore[call-overload]  # free it before the next one
                with self._core_lock:
                    cut_out(picture, self._alpha(picture, [part[index : index + 1] for part in coarse], scale))
                downloads.append((task, transfers.down(picture)))
                del picture
                while downloads and downloads[0][1].done():
                    self._deliver(batch, started, *downloads.popleft())
        finally:  # where memory has run out, those before it are done none the less
            while downloads:
                downloads[0][1].wait()
                self._deliver(batch, started, *downloads.popleft())

    def _look(self, tasks: Sequence[Task], size: tuple[int, int]) -> tuple[list[Tensor], Tensor]:
        """The pictures on the device, and their canvases as one batch with all its places filled."""
        pictures, canvases = [], []
        for task in tasks:  # each is scaled while the next one comes
            pictures.append(upload(task.picture, self.hardware.transfers))
            canvases.append(to_canvas(pictures[-1], size, self._model.dtype))
        missing = self.slots(len(tasks)) - len(tasks)
        return pictures, torch.cat([*canvases, canvases[0].expand(missing, -1, -1, -1)] if missing else canvases)

    def _deliver(self, batch: Batch[Task], started: float, task: Task, download: Download) -> None:
        resolve(task.future, Cutout(download.pixels, self._stats(batch, time.monotonic() - started)))

    def _alpha(self, picture: Tensor, coarse: Sequence[Tensor], scale: float) -> Tensor:
        """Alpha at the size of the picture, H x W x 4; H x W uint8."""
        height, width = picture.shape[:2]
        detail = resize_pixels(picture, (max(1, round(height * scale)), max(1, round(width * scale))))
        return resize_pixels(self._model.refine(detail, coarse)[..., None], (height, width))[..., 0]

    def _stats(self, batch: Batch[Task], seconds: float) -> BatchStats:
        size = len(batch.items)
        return BatchStats(size, self.slots(size), batch.trigger, str(self.device), batch.waited, seconds)

    def _recover(self) -> None:
        """Give the memory back and ask for less from now on."""
        self.hardware.give_back()
        self._out_of_memory += 1
        self._clean = 0
        self._set_limit(max(1, self._limit // 2))

    def _count_clean(self) -> None:
        self._clean += 1
        if self._clean >= CLEAN_BATCHES and self._limit < self._most:
            self._clean = 0
            self._set_limit(min(self._most, self._limit * 2))

    def _set_limit(self, limit: int) -> None:
        self._limit = limit
        self._batcher.limit(limit)

    def _too_large(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            size = f"{task.picture.width} x {task.picture.height}"
            fail(
                task.future,
                PictureTooLargeForDevice(
                    f"{size} pixels do not fit into the memory of {self.device}, not even alone; use a larger device "
                    f"or smaller pictures."
                ),
            )

    def _fail(self, error: BaseException) -> None:
        self.lost.set()
        lost = DeviceLost(f"{self.device} failed: {type(error).__name__}: {error}")
        lost.__cause__ = error
        if not self.ready.done():
            self.ready.set_exception(error)
        for task in [*self._batcher.drain(), *self._running]:
            fail(task.future, lost)


def upload(picture: Picture, transfers: Transfers) -> Tensor:
    """The picture's pixels on the device, H x W x 4 uint8, the last of which is open: words are quicker than threes."""
    return rgb_to_rgbx(transfers.up(torch.from_numpy(picture.pixels)))


def resolve(future: Future[Cutout], cutout: Cutout) -> None:
    """Keep the promise, unless whoever waited has cancelled it."""
    if future.set_running_or_notify_cancel():
        future.set_result(cutout)


def fail(future: Future[Cutout], error: Exception) -> None:
    """Break the promise, unless it is kept or cancelled already."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)
