"""Two models on one device: a fast one cuts out every picture, a strong one those of which the fast one is not sure.

The surer of the two mattes stays.

Each has a device thread and batches of its own. They take turns on the device, batch by batch, so that the fast one
never waits for more than one batch of the strong one.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol, Self

from inference.device.stats import DeviceStats
from inference.device.thread import set_error, set_result
from inference.engine import Engine
from inference.errors import PictureTooLargeForDevice
from inference.picture import Cutout, Picture

STRONG_CPU_BATCH, STRONG_GPU_BATCH = 1, 16
"""Pictures in a batch of the strong model, at most: the fast one waits for no more of them."""
RECENT = 500
"""Confidences from which the share of pictures for the strong model is found."""


GOLDEN = 0.618034
"""Multiples of it, modulo 1, are spread evenly: in their order, high and low expected confidences are forgotten."""


class Router(Protocol):
    """Decides which pictures the strong model gets."""

    def __call__(self, confidence: float) -> bool:
        """Whether a picture of this confidence goes on to the strong model. Called once for each picture."""
        ...


def below(threshold: float) -> Router:
    """Send every picture whose confidence is below a threshold in 0..1: the same ones each time."""
    return lambda confidence: confidence < threshold


class Share:
    """Sends the given share of pictures, those with the lowest confidence among the RECENT ones.

    It begins with the confidences of the pictures that the model was calibrated with, which are replaced one by one.
    Which pictures are sent depends on those before them. Thread-safe.
    """

    def __init__(self, share: float, expected: Sequence[float]) -> None:
        """`share` is in 0..1, `expected` are the confidences to assume before any have been seen."""
        self._share = share
        self._lock = threading.Lock()
        self._sorted = sorted(expected)
        lowest = self._sorted[: round(share * len(expected))]
        mixed = sorted(range(len(expected)), key=lambda index: index * GOLDEN % 1)
        self._recent = deque((self._sorted[index], index < len(lowest)) for index in mixed)
        self._expected, self._sent = len(self._recent), len(lowest)

    def __call__(self, confidence: float) -> bool:
        """See `Router`."""
        with self._lock:
            self._forget()
            insort(self._sorted, confidence)
            places = self._share * len(self._sorted)
            # Of several with the same confidence, only as many are sent as there are places.
            lower, up_to = bisect_left(self._sorted, confidence), bisect_right(self._sorted, confidence)
            sent = up_to <= places or (lower < places and self._sent < places)
            self._recent.append((confidence, sent))
            self._sent += sent
            return sent

    def _forget(self) -> None:
        """Forget the oldest confidence, if there are RECENT ones or it was only an expected one."""
        if not self._expected and len(self._recent) < RECENT:
            return
        confidence, sent = self._recent.popleft()
        self._expected = max(0, self._expected - 1)
        del self._sorted[bisect_left(self._sorted, confidence)]
        self._sent -= sent


class Cascade:
    """Cuts pictures out with two engines that share a device; used like an `Engine`.

    Where both models cut a picture out, the surer matte stays, and the cut-out has the review of the other one in
    `other`. A picture that does not fit into the device's memory with the strong model is cut out by the fast one.
    """

    def __init__(self, fast: Engine, strong: Engine, router: Router) -> None:
        """The engines were made with the same `SharedDevice`."""
        self.fast, self.strong, self._router = fast, strong, router
        self.options, self.lost = fast.options, fast.lost
        self.takes_rgbx = False  # both models may get the picture
        self.core_lock: AbstractContextManager[None] = fast.core_lock

    def start(self) -> float:
        """Start both engines, one after the other; returns the seconds that took. Raises ModelError or DeviceLost."""
        return self.fast.start() + self.strong.start()

    @property
    def batch_limit(self) -> int:
        """Pictures in the largest batch of the fast model at present."""
        return self.fast.batch_limit

    @property
    def places(self) -> int:
        """Pictures in the largest batches of both models together."""
        return self.fast.places + self.strong.places

    @property
    def slowdowns(self) -> tuple[str, ...]:
        """Why the device is slower than it could be, a clause each; complete once both engines have started."""
        return tuple(dict.fromkeys((*self.fast.slowdowns, *self.strong.slowdowns)))

    @property
    def device_name(self) -> str:
        """The product name of a GPU, or `CPU`."""
        return self.fast.device_name

    @property
    def uuid(self) -> str:
        """The UUID of a GPU, empty for a CPU."""
        return self.fast.uuid

    def submit(self, picture: Picture) -> Future[Cutout]:
        """Queue a picture; see `Engine.submit`."""
        return self._route(picture, self.fast.submit(picture))

    @contextmanager
    def announce(self) -> Iterator[Callable[[Picture], Future[Cutout]]]:
        """Announce a picture that is being prepared; see `Engine.announce`."""
        with self.fast.announce() as submit:
            yield lambda picture: self._route(picture, submit(picture))

    def stats(self) -> DeviceStats:
        """Take a snapshot of the device's state: memory and GPU as a whole, all else of both engines together."""
        fast, strong = self.fast.stats(), self.strong.stats()
        since = [stats.busy_since for stats in (fast, strong) if stats.busy_since is not None]
        return replace(
            fast,
            out_of_memory=fast.out_of_memory + strong.out_of_memory,
            busy_seconds=fast.busy_seconds + strong.busy_seconds,
            busy_since=min(since, default=None),
            running=fast.running + strong.running,
        )

    def close(self) -> None:
        """Finish what was submitted, then end both device threads."""
        self.fast.close()  # first: what it finishes may go on to the other
        self.strong.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _route(self, picture: Picture, first: Future[Cutout]) -> Future[Cutout]:
        final: Future[Cutout] = Future()
        first.add_done_callback(partial(self._send_on, picture, final))
        return final

    def _send_on(self, picture: Picture, final: Future[Cutout], first: Future[Cutout]) -> None:
        """Finish with the fast model's cut-out, or submit the picture to the strong model."""
        if (failure := first.exception()) is not None:
            set_error(final, failure)
            return
        cutout = first.result()
        if cutout.review is None or not self._router(cutout.review.confidence):
            set_result(final, cutout)
            return
        try:
            second = self.strong.submit(picture)
        except Exception as error:  # this runs in the device thread, where nobody would see it
            set_error(final, error)
            return
        finish = partial(self._finish_strong, picture, final, cutout)
        del cutout
        second.add_done_callback(finish)

    def _finish_strong(self, picture: Picture, final: Future[Cutout], fast: Cutout, second: Future[Cutout]) -> None:
        error = second.exception()
        if isinstance(error, PictureTooLargeForDevice):
            set_result(final, fast)
        elif error is not None:
            set_error(final, error)
        else:
            set_result(final, surer(fast, second.result()))


def surer(fast: Cutout, strong: Cutout) -> Cutout:
    """Return the cut-out whose matte is the surer one, with the review of the other; the fast model's if both are."""
    assert fast.review is not None and strong.review is not None, "a model made both"
    if strong.review.confidence > fast.review.confidence:
        return replace(strong, other=fast.review, by_strong=True)
    return replace(fast, other=strong.review)
