"""The device thread: the only one that touches the model and the device."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.batcher import Batch, Batcher
from inference.device.cuda_graphs import CudaGraphs
from inference.device.hardware import Hardware, device_memory
from inference.device.reviewed import ReviewedCoarse
from inference.device.stats import DeviceStats
from inference.device.transfers import Download, Transfers
from inference.device.warmup import Warmup
from inference.errors import DeviceFull, DeviceLost, PictureTooLargeForDevice
from inference.foreground.batched import cut_out as cut_out_all
from inference.foreground.fused import cut_out
from inference.models.base import MattingModel
from inference.models.memory_errors import is_out_of_memory
from inference.picture import BatchStats, Cutout, Picture, textured_picture
from inference.resampling import resize_all_pixels, resize_pixels, to_canvas, to_canvases
from inference.review.calibration import load_calibration
from inference.review.doubts import Review
from inference.review.reviewer import BatchReview
from inference.rgba import rgb_to_rgbx

BATCHES_BEFORE_GROWTH = 50
"""After an out-of-memory error halved the batch limit, it doubles again after this many batches without one."""

MIN_DETAIL = 0.25
"""A picture that does not fit alone is refined at a smaller scale, down to this one, before it is rejected."""

BYTES_PER_PIXEL = 64
"""Device memory that a picture takes at most when it is alone and refined at MIN_DETAIL, for each of its pixels."""
OTHERS_BYTES = 1 << 30
"""Of the device's memory, what others use without being to blame: each needs half a gigabyte for CUDA alone."""


@dataclass(frozen=True)
class InferenceRequest:
    """A picture, and the future of its cut-out."""

    picture: Picture
    future: Future[Cutout]


Deliver = Callable[[Batch[InferenceRequest], float, Review, InferenceRequest, Download], None]
"""Resolves the future of a request of a batch that was started at this monotonic time."""


class DeviceThread(threading.Thread):
    """Loads the model, warms it up, then runs batches until the batcher is closed and empty.

    `ready` resolves to the seconds of the warm-up, or fails with the error that ended it. Any error other than lack of
    memory ends the thread: all pending requests fail with DeviceLost, and `lost` is set.
    """

    def __init__(
        self,
        hardware: Hardware,
        model: MattingModel,
        batcher: Batcher[InferenceRequest],
        threads: int,
        core_lock: AbstractContextManager[None],
        on_batch: Callable[[BatchStats], None],
        turn: AbstractContextManager[None],
        lost: threading.Event,
    ) -> None:
        """`turn` is held while a batch runs; `lost` is set when the device has failed."""
        super().__init__(name=f"device-{hardware.device}", daemon=True)
        self.hardware, self.device = hardware, hardware.device
        self.graphs = CudaGraphs(ReviewedCoarse(model, pooled=hardware.whole_batches))
        self._calibration = load_calibration(model.family)
        self.ready: Future[float] = Future()
        self.lost, self._turn = lost, turn
        self._model, self._batcher, self._threads, self._on_batch = model, batcher, threads, on_batch
        self._core_lock = core_lock
        self._max_limit = self._limit = batcher.limits.size
        self._clean_batches = self._out_of_memory = 0
        self._busy = 0.0
        self._busy_since: float | None = None
        self._running: Sequence[InferenceRequest] = ()

    def run(self) -> None:
        """Run until closed. Never raises: errors go to the futures that wait."""
        try:
            self._warm_up()
            while (batch := self._batcher.take()) is not None:
                with self._turn:
                    self._run_batch(batch)
                del batch  # its pictures would stay in memory until the next one arrives
        except BaseException as error:
            self._fail(error)

    def stats(self) -> DeviceStats:
        """Take a snapshot; callable from any thread."""
        since = self._busy_since
        current = time.monotonic() - since if since is not None else 0.0
        return DeviceStats(
            device_memory(self.device, self.hardware.gpu),
            self._limit,
            self._out_of_memory,
            self._busy + current,
            since,
            sum(not request.future.done() for request in self._running),
            self.hardware.gpu.readings() if self.hardware.gpu else {},
        )

    def stage(self, picture: Picture) -> Picture:
        """Return the picture in memory that the device can read; callable from any thread."""
        return self.hardware.transfers.stage(picture)

    def _warm_up(self) -> None:
        """Load the model, and run every shape once, so that no picture pays for a first run; on a CPU, one shape."""
        started = time.monotonic()
        if self._threads:
            torch.set_num_threads(self._threads)
        self.hardware.open()
        self._model.load(self.device)
        warmup = Warmup(self._model, self.hardware)
        warmup.run(warmup.sizes[0], 1)
        if self.hardware.needs_warmup:
            self._warm_up_all(warmup)
            self._rehearse()
        self.ready.set_result(time.monotonic() - started)

    def _warm_up_all(self, warmup: Warmup) -> None:
        """Run every canvas with one picture and with the largest batch, whose size is determined here."""
        self._max_limit = warmup.estimate_batch(self._max_limit)
        self._set_limit(self._max_limit)
        for size in warmup.sizes:
            warmup.run(size, 1)
            while not warmup.fits(size, self._limit):
                self._halve_limit()
        warmup.capture(self.graphs, self._limit)

    def _rehearse(self) -> None:
        """Run one picture with an outline from end to end: libraries load a kernel when it is launched first."""
        picture = textured_picture()
        request = InferenceRequest(self.stage(picture), Future())
        batch = Batch([request], self._model.canvas(picture.width, picture.height), "closed", 0.0)
        if self._try_infer(batch, batch.items, 1.0):
            with torch.inference_mode():
                self._model.warm_up_shapes()
        else:  # pictures that follow may be smaller, or memory may be free by then
            self.hardware.release_memory()

    def _run_batch(self, batch: Batch[InferenceRequest]) -> None:
        """Run one batch, in as many parts as memory demands."""
        started = self._busy_since = time.monotonic()
        self._running = batch.items
        parts, detail = [batch.items], 1.0
        while parts:
            requests = parts.pop()
            if len(requests) > self._limit:  # lowered by an earlier part
                parts += [requests[self._limit :], requests[: self._limit]]
                continue
            if self._try_infer(batch, requests, detail):
                continue
            requests = [request for request in requests if not request.future.done()]
            self._halve_limit()
            if not requests:
                continue
            if len(requests) > 1:
                parts.append(requests)
            elif detail > MIN_DETAIL:
                detail /= 2
                parts.append(requests)
                continue
            else:
                set_error(requests[0].future, self._does_not_fit(requests[0].picture))
            detail = 1.0
        self._busy_since, self._running = None, ()
        seconds = time.monotonic() - started
        self._busy += seconds
        self._on_batch(self._stats(batch, seconds))
        self._grow_limit()

    def _try_infer(self, batch: Batch[InferenceRequest], requests: Sequence[InferenceRequest], detail: float) -> bool:
        """Run the requests; False if memory ran out, in which case some may be finished already."""
        try:
            with torch.inference_mode():
                self._infer(batch, requests, detail)
            return True
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            self.hardware.transfers.finish_uploads()

    def _infer(self, batch: Batch[InferenceRequest], requests: Sequence[InferenceRequest], detail: float) -> None:
        if self.hardware.whole_batches:
            self._infer_together(batch, requests, detail)
        else:
            self._infer_one_by_one(batch, requests, detail)

    def _infer_one_by_one(
        self, batch: Batch[InferenceRequest], requests: Sequence[InferenceRequest], detail: float
    ) -> None:
        downloads = _Downloads(self._deliver, batch)
        size = self._model.canvas(requests[0].picture.width, requests[0].picture.height)
        with self._core_lock:
            pictures, canvases = self._upload(requests, size)
            *coarse, measures = self.graphs.coarse(canvases)
            downloads.reviews = BatchReview.start(measures, self._calibration)
        with downloads:
            for index, request in enumerate(requests):
                picture, pictures[index] = pictures[index], None  # type: ignore[call-overload]  # frees it after this turn
                with self._core_lock:
                    cut_out(picture, self._alpha(picture, [part[index : index + 1] for part in coarse], detail))
                downloads.add(request, self.hardware.transfers.download(picture))
                del picture
                downloads.deliver_done()

    def _infer_together(
        self, batch: Batch[InferenceRequest], requests: Sequence[InferenceRequest], detail: float
    ) -> None:
        """Refine and cut out pictures of one size together, which takes far fewer kernel launches."""
        downloads = _Downloads(self._deliver, batch)
        size = self._model.canvas(requests[0].picture.width, requests[0].picture.height)
        groups = group_by_size(requests)
        uploaded = [upload_all([request.picture for request in group], self.hardware.transfers) for group in groups]
        canvases = [to_canvases(pictures, size, self._model.dtype) for pictures in uploaded]
        lengths = [len(group) for group in groups]
        *results, measures = self._run_coarse(canvases, len(requests))
        downloads.reviews = BatchReview.start(measures, self._calibration)
        parts = [torch.split(part, lengths) for part in results]
        with downloads:
            for index, (group, coarse) in enumerate(zip(groups, zip(*parts, strict=True), strict=True)):
                pictures, uploaded[index] = uploaded[index], None  # type: ignore[call-overload]  # frees it after this turn
                cut_out_all(pictures, self._alphas(pictures, coarse, detail))
                for request, picture in zip(group, pictures, strict=True):
                    downloads.add(request, self.hardware.transfers.download(picture))
                del pictures
                downloads.deliver_done()

    def _run_coarse(self, canvases: Sequence[Tensor], count: int) -> list[Tensor]:
        """Run the coarse step on all canvases, padded to a warm shape; the results and measures of `count` of them."""
        padding = self.hardware.slots_for(count) - count
        filled = [*canvases, canvases[0][:1].expand(padding, -1, -1, -1)] if padding else list(canvases)
        batch = torch.cat(filled) if len(filled) > 1 else filled[0]
        return [part[:count] for part in self.graphs.coarse(batch)]

    def _upload(self, requests: Sequence[InferenceRequest], size: tuple[int, int]) -> tuple[list[Tensor], Tensor]:
        """Upload the pictures, and scale them to canvases: H x W x 4 uint8 each, and slots x 3 x h x w."""
        pictures, canvases = [], []
        for request in requests:  # each is scaled while the next one is uploaded
            pictures.append(upload(request.picture, self.hardware.transfers))
            canvases.append(to_canvas(pictures[-1], size, self._model.dtype))
        padding = self.hardware.slots_for(len(requests)) - len(requests)
        return pictures, torch.cat([*canvases, canvases[0].expand(padding, -1, -1, -1)] if padding else canvases)

    def _deliver(
        self,
        batch: Batch[InferenceRequest],
        started: float,
        review: Review,
        request: InferenceRequest,
        download: Download,
    ) -> None:
        set_result(request.future, Cutout(download.pixels, self._stats(batch, time.monotonic() - started), review))

    def _alpha(self, picture: Tensor, coarse: Sequence[Tensor], detail: float) -> Tensor:
        """Compute alpha H x W uint8 for a picture H x W x 4 uint8, refined at the scale `detail`."""
        height, width = picture.shape[:2]
        scaled = resize_pixels(picture, scaled_size(height, width, detail))
        return resize_pixels(self._model.refine(scaled, coarse)[..., None], (height, width))[..., 0]

    def _alphas(self, pictures: Tensor, coarse: Sequence[Tensor], detail: float) -> Tensor:
        """Compute alpha B x H x W uint8 for pictures B x H x W x 4 uint8, refined at the scale `detail`."""
        height, width = pictures.shape[1:3]
        scaled = resize_all_pixels(pictures, scaled_size(height, width, detail))
        return resize_all_pixels(self._model.refine_all(scaled, coarse)[..., None], (height, width))[..., 0]

    def _stats(self, batch: Batch[InferenceRequest], seconds: float) -> BatchStats:
        size = len(batch.items)
        return BatchStats(
            size, self.hardware.slots_for(size), batch.trigger, str(self.device), batch.wait_seconds, seconds
        )

    def _halve_limit(self) -> None:
        """Release memory after an out-of-memory error, and take smaller batches from now on."""
        self.hardware.release_memory()
        self._out_of_memory += 1
        self._clean_batches = 0
        self._set_limit(max(1, self._limit // 2))

    def _grow_limit(self) -> None:
        """Double the batch limit after BATCHES_BEFORE_GROWTH batches without an out-of-memory error."""
        self._clean_batches += 1
        if self._clean_batches >= BATCHES_BEFORE_GROWTH and self._limit < self._max_limit:
            self._clean_batches = 0
            self._set_limit(min(self._max_limit, self._limit * 2))

    def _set_limit(self, limit: int) -> None:
        self._limit = limit
        self._batcher.set_size(limit)

    def _does_not_fit(self, picture: Picture) -> Exception:
        """Make the error of a picture that does not fit alone: its own fault only if no other process is to blame."""
        size, memory = f"{picture.width} x {picture.height}", self.hardware.memory
        others = memory.others() if memory else 0
        if memory and others > OTHERS_BYTES and picture.width * picture.height * BYTES_PER_PIXEL < memory.share():
            return DeviceFull(
                f"{size} pixels do not fit into the memory of {self.device} at present, of which other processes use "
                f"{others / 2**30:.1f} GiB: give alphadrop the device for itself, or run fewer workers on it."
            )
        return PictureTooLargeForDevice(
            f"{size} pixels do not fit into the memory of {self.device}, not even alone; use a larger device or "
            "smaller pictures."
        )

    def _fail(self, error: BaseException) -> None:
        self.lost.set()
        lost = DeviceLost(f"{self.device} failed: {type(error).__name__}: {error}")
        lost.__cause__ = error
        if not self.ready.done():
            self.ready.set_exception(error)
        for request in [*self._batcher.drain(), *self._running]:
            set_error(request.future, lost)


class _Downloads:
    """Cut-outs of a batch on their way back; delivers each that is done, and at the end waits for the others.

    At the end also means where memory has run out: the pictures before that are finished.
    """

    def __init__(self, deliver: Deliver, batch: Batch[InferenceRequest]) -> None:
        self._deliver, self._batch, self._started = deliver, batch, time.monotonic()
        self._pending: deque[tuple[InferenceRequest, Download]] = deque()
        self._delivered = 0

    reviews: BatchReview
    """Of the pictures, in the order in which they are added."""

    def add(self, request: InferenceRequest, download: Download) -> None:
        self._pending.append((request, download))

    def deliver_done(self) -> None:
        """Deliver, in order, what has been copied by now."""
        while self._pending and self._pending[0][1].done():
            self._deliver_next()

    def _deliver_next(self) -> None:
        review = self.reviews.of(self._delivered)
        self._delivered += 1
        self._deliver(self._batch, self._started, review, *self._pending.popleft())

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        while self._pending:
            self._pending[0][1].wait()
            self._deliver_next()


def group_by_size(requests: Sequence[InferenceRequest]) -> list[list[InferenceRequest]]:
    """Group requests whose pictures have the same height and width, in the order of their first ones."""
    groups: dict[tuple[int, int], list[InferenceRequest]] = {}
    for request in requests:
        groups.setdefault((request.picture.height, request.picture.width), []).append(request)
    return list(groups.values())


def scaled_size(height: int, width: int, detail: float) -> tuple[int, int]:
    """Multiply a size by `detail`; no side becomes shorter than a pixel."""
    return max(1, round(height * detail)), max(1, round(width * detail))


def upload_all(pictures: Sequence[Picture], transfers: Transfers) -> Tensor:
    """Upload pictures of one size as B x H x W x 4 uint8, fourth channel undefined."""
    return F.pad(torch.stack([transfers.upload(torch.from_numpy(picture.pixels)) for picture in pictures]), (0, 1))


def upload(picture: Picture, transfers: Transfers) -> Tensor:
    """Upload a picture as H x W x 4 uint8, fourth channel undefined: words of 32 bits are faster than three bytes.

    On a CPU, that is the picture's own memory if it has `rgbx`.
    """
    if picture.rgbx is not None and transfers.device.type == "cpu":
        return torch.from_numpy(picture.rgbx)
    return rgb_to_rgbx(transfers.upload(torch.from_numpy(picture.pixels)))


def set_result(future: Future[Cutout], cutout: Cutout) -> None:
    """Resolve a future, unless it has been cancelled."""
    if future.set_running_or_notify_cancel():
        future.set_result(cutout)


def set_error(future: Future[Cutout], error: BaseException) -> None:
    """Fail a future, unless it is done or has been cancelled."""
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)
