"""The device thread: the only one that touches the model and the device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.batcher import Batch, Batcher
from inference.canvas import detail_size
from inference.errors import DeviceLost, PictureTooLargeForDevice
from inference.foreground import cut_out, resize
from inference.models.base import MattingModel
from inference.picture import BatchStats, Cutout, Picture

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
    """A snapshot. Memory is in bytes by kind: total, used, allocated, reserved, peak; those that the device knows."""

    memory: dict[str, int] = field(default_factory=dict)
    batch_limit: int = 0
    out_of_memory: int = 0
    busy_seconds: float = 0.0
    busy_since: float | None = None
    """When (monotonic) the batch that is running now was started; None when idle."""


class DeviceThread(threading.Thread):
    """Loads the model, warms it up, then runs batches until the batcher is closed and empty.

    `ready` resolves when warm, or fails with what went wrong. Any error that is not out of memory ends the thread: all
    that waits fails with DeviceLost, and `lost` is set.
    """

    def __init__(
        self,
        device: torch.device,
        model: MattingModel,
        batcher: Batcher[Task],
        threads: int,
        on_batch: Callable[[BatchStats], None],
    ) -> None:
        super().__init__(name=f"device-{device}", daemon=True)
        self.device = device
        self.ready: Future[float] = Future()
        self.lost = threading.Event()
        self._model, self._batcher, self._threads, self._on_batch = model, batcher, threads, on_batch
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
        return DeviceStats(device_memory(self.device), self._limit, self._out_of_memory, self._busy + running, since)

    def _warm_up(self) -> None:
        """Load, and run every shape once, so that no picture waits for a first time; a CPU has little to warm."""
        started = time.monotonic()
        if self._threads:
            torch.set_num_threads(self._threads)
        self._model.load(self.device)
        on_cpu = self.device.type == "cpu"
        for size in self._model.canvases()[: 1 if on_cpu else None]:
            self._rehearse(size, 1)
            while not on_cpu and not self._fits(size):
                self._recover()
        self.ready.set_result(time.monotonic() - started)

    def _fits(self, size: tuple[int, int]) -> bool:
        """Whether the largest batch of this canvas has the memory it needs."""
        try:
            self._rehearse(size, self.slots(self._limit))
        except torch.OutOfMemoryError:
            if self._limit == 1:
                raise
            return False
        return True

    def _rehearse(self, size: tuple[int, int], slots: int) -> None:
        with torch.inference_mode():
            batch = torch.zeros((slots, 3, *size), dtype=self._model.dtype, device=self.device)
            self._model.refine(batch[:1], [part[:1] for part in self._model.coarse(batch)])

    def slots(self, count: int) -> int:
        """The batch's size on the device: the next power of two on a GPU, where few shapes mean reused graphs."""
        return count if self.device.type == "cpu" else 1 << (count - 1).bit_length()

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

    def _infer(self, batch: Batch[Task], tasks: Sequence[Task], scale: float) -> None:
        started = time.monotonic()
        pictures = [upload(task.picture, self.device) for task in tasks]
        size = self._model.canvas(tasks[0].picture.width, tasks[0].picture.height)
        canvases = torch.cat([scaled(p, size, self._model.dtype) for p in pictures])
        if missing := self.slots(len(tasks)) - len(tasks):
            canvases = torch.cat((canvases, canvases[:1].expand(missing, -1, -1, -1)))
        coarse = self._model.coarse(canvases)
        for index, task in enumerate(tasks):
            alpha = self._alpha(pictures[index], [part[index : index + 1] for part in coarse], scale)
            pixels = cut_out(pictures[index], alpha).cpu().numpy()
            pictures[index] = alpha = None  # type: ignore[assignment, call-overload]  # free it before the next one
            resolve(task.future, Cutout(pixels, self._stats(batch, time.monotonic() - started)))

    def _alpha(self, pixels: Tensor, coarse: Sequence[Tensor], scale: float) -> Tensor:
        """Alpha at the picture's own size, float, H x W."""
        height, width = pixels.shape[:2]
        rows, columns = detail_size(width, height)
        detail = scaled(pixels, (max(1, round(rows * scale)), max(1, round(columns * scale))), self._model.dtype)
        return resize(self._model.refine(detail, coarse)[None, None], (height, width))[0, 0]

    def _stats(self, batch: Batch[Task], seconds: float) -> BatchStats:
        size = len(batch.items)
        return BatchStats(size, self.slots(size), batch.trigger, str(self.device), batch.waited, seconds)

    def _recover(self) -> None:
        """Give the memory back and ask for less from now on."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
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


def upload(picture: Picture, device: torch.device) -> Tensor:
    """The picture's pixels, H x W x 3 uint8, on the device (not copied on the CPU)."""
    return torch.from_numpy(picture.pixels).to(device, non_blocking=True)


def scaled(pixels: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """H x W x 3 uint8 to 1 x 3 x h x w in 0..1 of that size."""
    return resize(pixels.permute(2, 0, 1)[None], size).to(dtype) / 255


def resolve(future: Future[Cutout], cutout: Cutout) -> None:
    """Keep the promise, unless whoever waited has cancelled it."""
    if future.set_running_or_notify_cancel():
        future.set_result(cutout)


def fail(future: Future[Cutout], error: Exception) -> None:
    """Break the promise, unless it is kept or cancelled already."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)


def device_memory(device: torch.device) -> dict[str, int]:
    """Bytes by kind; reserved is what torch's allocator keeps, which is no leak."""
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {
        "total": total,
        "used": total - free,
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "peak": torch.cuda.max_memory_allocated(device),
    }
