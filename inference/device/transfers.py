"""Transfers of pictures to the device and of cut-outs back: synchronous, or on copy streams beside computation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.device.pinned_memory import Arena
from inference.picture import Picture


@dataclass(frozen=True)
class Download:
    """A cut-out that is being copied from the device. Its pixels are valid once `done` is true or `wait` returned."""

    pixels: NDArray[np.uint8] = field(repr=False)
    done: Callable[[], bool] = lambda: True
    wait: Callable[[], object] = lambda: None
    source: Tensor | None = field(default=None, repr=False)
    """Keeps the device memory that is being read from being reused."""


class Transfers:
    """Synchronous transfers, for a CPU and for a GPU without pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def stage(self, picture: Picture) -> Picture:
        """Return the picture in memory that the device can read. Called by the thread that submits it."""
        return picture

    def upload(self, pixels: Tensor) -> Tensor:
        """Return the pixels on the device, ready for whatever is computed from now on."""
        return pixels.to(self.device, non_blocking=True)

    def download(self, rgba: Tensor) -> Download:
        """Begin to copy a cut-out from the device. The caller must not write to it any more, and keeps the download."""
        return Download(rgba.cpu().numpy())

    def finish_uploads(self) -> None:
        """Wait, at the end of a batch, until no upload reads main memory any more."""


class CopyStreams(Protocol):
    """Copies that run concurrently with computation."""

    def upload(self, pixels: Tensor) -> Tensor:
        """See `Transfers.upload`."""
        ...

    def download(self, rgba: Tensor, into: Tensor) -> CopyEvent:
        """Begin to copy `rgba` into main memory; the event is reached when that is done."""
        ...

    def finish_uploads(self) -> None:
        """See `Transfers.finish_uploads`."""
        ...


class CopyEvent(Protocol):
    """The part of `torch.cuda.Event` that is used."""

    def query(self) -> bool:
        """Whether all work before the event is done."""
        ...

    def synchronize(self) -> None:
        """Wait until all work before the event is done."""
        ...


class StreamedTransfers(Transfers):
    """Transfers through pinned memory while the device computes; synchronous ones where that memory is used up."""

    def __init__(self, device: torch.device, arena: Arena, streams: CopyStreams) -> None:
        super().__init__(device)
        self._arena, self._streams = arena, streams

    def stage(self, picture: Picture) -> Picture:
        """Copy the picture to pinned memory, in the submitting thread: the device thread has no time for it."""
        pinned = self._arena.allocate(picture.pixels.shape)
        if pinned is None:
            return picture
        np.copyto(pinned, picture.pixels)
        return Picture(pinned)

    def upload(self, pixels: Tensor) -> Tensor:
        """Upload pinned or pageable memory: for the latter, the driver itself waits until it has been read."""
        return self._streams.upload(pixels)

    def download(self, rgba: Tensor) -> Download:
        """Download to pinned memory, which is in use until the caller drops the pixels."""
        pinned = self._arena.allocate(rgba.shape)
        if pinned is None:
            return super().download(rgba)
        event = self._streams.download(rgba, torch.from_numpy(pinned))
        return Download(pinned, event.query, event.synchronize, rgba)

    def finish_uploads(self) -> None:
        """Wait before anybody drops a picture, whose memory the next one would overwrite."""
        self._streams.finish_uploads()


class CudaCopyStreams:
    """One CUDA stream for each direction, for the thread that computes on the device's current stream.

    Torch's allocator reuses memory in the order of the stream that allocated it, and does not know that another stream
    uses it. So uploaded tensors are kept until they have been used. `Tensor.record_stream` would do that, but has no
    effect any more after a failed graph capture.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._downloads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._kept: list[Tensor] = []

    def upload(self, pixels: Tensor) -> Tensor:
        """Copy to memory that the upload stream allocates, so that the copy need not wait for current computation."""
        with torch.cuda.stream(self._uploads):
            uploaded = pixels.to(self._device, non_blocking=True)
        torch.cuda.current_stream(self._device).wait_stream(self._uploads)
        self._kept.append(uploaded)
        return uploaded

    def download(self, rgba: Tensor, into: Tensor) -> torch.cuda.Event:
        """Copy after everything that has been launched so far; keep `rgba` until the event is reached."""
        self._downloads.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._downloads):
            into.copy_(rgba, non_blocking=True)
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # sleeps: codecs need the core
        event.record(self._downloads)
        return event

    def finish_uploads(self) -> None:
        """Wait for uploads. The next ones may reuse the kept memory, after what was launched has read it."""
        self._uploads.synchronize()
        self._uploads.wait_stream(torch.cuda.current_stream(self._device))
        self._kept.clear()
