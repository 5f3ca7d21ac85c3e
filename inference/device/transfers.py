"""Pictures to the device and cut-outs back: at once, or on streams of their own beside the one that computes."""

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
    """A cut-out on its way: nobody may read the pixels before it is `done`, or somebody has waited."""

    pixels: NDArray[np.uint8] = field(repr=False)
    done: Callable[[], bool] = lambda: True
    wait: Callable[[], object] = lambda: None
    origin: Tensor | None = field(default=None, repr=False)
    """What is being read on the device, whose memory must not be used again before."""


class Transfers:
    """Where nothing happens beside anything: on a CPU, or without pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def staged(self, picture: Picture) -> Picture:
        """The picture where the device takes it from; called by the thread that submits it."""
        return picture

    def up(self, pixels: Tensor) -> Tensor:
        """The same on the device, for what is computed from now on."""
        return pixels.to(self.device, non_blocking=True)

    def down(self, rgba: Tensor) -> Download:
        """Begin to fetch a cut-out, which the caller writes no more; it may drop it, but must keep the download."""
        return Download(rgba.cpu().numpy())

    def settle(self) -> None:
        """The end of a batch: when this returns, no copy up reads main memory any more."""


class Lanes(Protocol):
    """Copies that go on by themselves."""

    def up(self, pixels: Tensor) -> Tensor:
        """See `Transfers.up`."""
        ...

    def down(self, rgba: Tensor, into: Tensor) -> Mark:
        """Begin to copy; the mark says when it has been done."""
        ...

    def settle(self) -> None:
        """See `Transfers.settle`."""
        ...


class Mark(Protocol):
    """What of a `torch.cuda.Event` is used."""

    def query(self) -> bool:
        """Whether all before it has been done."""
        ...

    def synchronize(self) -> None:
        """Wait for that."""
        ...


class StreamedTransfers(Transfers):
    """Through pinned memory, while the device computes; what finds no room in it goes as without."""

    def __init__(self, device: torch.device, arena: Arena, lanes: Lanes) -> None:
        super().__init__(device)
        self._arena, self._lanes = arena, lanes

    def staged(self, picture: Picture) -> Picture:
        """A copy in pinned memory: made here, it costs the device thread nothing."""
        room = self._arena.lend(picture.pixels.shape)
        if room is None:
            return picture
        np.copyto(room, picture.pixels)
        return Picture(room)

    def up(self, pixels: Tensor) -> Tensor:
        """Pinned or not: the driver itself waits until it has read memory that is not."""
        return self._lanes.up(pixels)

    def down(self, rgba: Tensor) -> Download:
        """Into pinned memory, which is the caller's until it drops the cut-out."""
        room = self._arena.lend(rgba.shape)
        if room is None:
            return super().down(rgba)
        mark = self._lanes.down(rgba, torch.from_numpy(room))
        return Download(room, mark.query, mark.synchronize, rgba)

    def settle(self) -> None:
        """Before anybody drops a picture, whose memory the next one would be written into."""
        self._lanes.settle()


class CudaLanes:
    """A stream for each direction. For the thread that computes, on the device's current stream.

    The allocator hands memory out again in the order of the stream that took it, and knows of no other stream that
    uses it. So what crosses is kept until it has been used: `record_stream` would tell the allocator, but that stops
    listening where a graph's recording has failed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._up = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._down = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._kept: list[Tensor] = []

    def up(self, pixels: Tensor) -> Tensor:
        """Into memory that the copy stream takes, which therefore need not wait for what is computed now."""
        with torch.cuda.stream(self._up):
            there = pixels.to(self._device, non_blocking=True)
        torch.cuda.current_stream(self._device).wait_stream(self._up)
        self._kept.append(there)
        return there

    def down(self, rgba: Tensor, into: Tensor) -> torch.cuda.Event:
        """After all that has been computed so far; `rgba` is to be kept until the mark is passed."""
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            into.copy_(rgba, non_blocking=True)
        mark = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # sleeps: the core is for the codecs
        mark.record(self._down)
        return mark

    def settle(self) -> None:
        """What goes up next may have the kept memory, but not before what was computed has read it."""
        self._up.synchronize()
        self._up.wait_stream(torch.cuda.current_stream(self._device))
        self._kept.clear()
