"""The path of one image: from a lease to its outcome, in one function that reads from top to bottom."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from inference.codec import decode, encode, probe
from inference.errors import PictureError
from inference.picture import Cutout, Picture
from watcher.errors import Gone, Rejected, Stale, Unavailable
from watcher.quarantine import quarantine, release
from watcher.reports import ImageReport, Report, TroubleReport
from watcher.stores.base import Held, Store
from watcher.stores.stamp import source_text, stamp
from watcher.work import Job, Lease, Outcome, Rejection

RETRY_DELAY = 5.0
"""Seconds before an image is tried again after the world was in trouble."""


class Submit(Protocol):
    """Hands a picture to the engine."""

    def __call__(self, picture: Picture, /) -> Future[Cutout]: ...


class Coming(Protocol):
    """What the path needs of an engine."""

    def coming(self) -> AbstractContextManager[Submit]: ...


class PixelBudget:
    """Pixels that may be in memory at a time, first come, first served.

    A picture larger than the whole budget gets it all, alone.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until there is room, and keep it while inside."""
        wanted, ticket = min(pixels, self._all), object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._free >= wanted)
            self._waiting.popleft()
            self._free -= wanted
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


@dataclass
class Trip:
    """What is measured on the way of one image."""

    stages: dict[str, float] = field(default_factory=dict)
    stage: str = "queue_wait"
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    coverage: float = 0.0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage; it stays the current one if it fails."""
        self.stage, started = stage, time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = time.perf_counter() - started


@dataclass(frozen=True)
class ImagePath:
    """Everything an image meets on its way; one for all threads of a worker."""

    source: Store
    sink: Store
    engine: Coming
    budget: PixelBudget
    max_pixels: int
    png_level: int
    tell: Callable[[Report], None]
    test_hook: str = ""
    """`kill:TEXT` kills the process when a picture whose key holds TEXT is decoded."""

    def process(self, lease: Lease) -> None:
        """Make the output, or find out why not; either way the lease ends. Raises only what ends the worker."""
        trip = Trip()
        trip.stages["queue_wait"] = max(0.0, time.time() - lease.found_at)
        try:
            self._settle(lease, trip)
        except Unavailable as error:
            self._give_back(lease, error, trip)

    def _settle(self, lease: Lease, trip: Trip) -> None:
        """One image, one verdict. Unavailable passes, whichever step it comes from."""
        try:
            outcome = self._make(lease.job, trip)
        except Gone:
            outcome = Outcome.GONE
        except Stale:
            outcome = Outcome.STALE
        except PictureError as error:
            self._reject(lease, Rejection(error.reason, str(error)), trip)
            return
        except Rejected as error:
            self._reject(lease, error.rejection, trip)
            return
        self._end(lease, outcome, trip)

    def _make(self, job: Job, trip: Trip) -> Outcome:
        held = self.sink.held(job.output)
        if held and held.job == job.id:  # the put has happened, its acknowledgement has not
            return Outcome.ALREADY_DONE
        self._own_output(job, held)
        with trip.timed("read"):
            data = self.source.read(job.ref)
        trip.bytes_in = len(data)
        trip.stage = "decode"
        info = probe(data)
        with self.budget.hold(info.width * info.height):
            cutout = self._cut_out(data, job, trip)
            del data
            with trip.timed("encode"):
                png = encode(cutout, text=stamp(job), level=self.png_level)
            trip.pixels, trip.coverage, trip.bytes_out = info.width * info.height, cutout.coverage, len(png)
            del cutout
        with trip.timed("put"):
            self.sink.put(job, png)
        return Outcome.WRITTEN

    def _cut_out(self, data: bytes, job: Job, trip: Trip) -> Cutout:
        """Decode and infer. The engine knows from the start that a picture is on its way."""
        with self.engine.coming() as submit:
            self._trip_wire(job)
            with trip.timed("decode"):
                picture = decode(data, max_pixels=self.max_pixels)
            with trip.timed("infer"):
                promise = submit(picture)
                del picture, data
                cutout = promise.result()
        if cutout.stats:
            trip.stages["batch_wait"] = max(0.0, trip.stages["infer"] - cutout.stats.infer_seconds)
            trip.stages["infer"] = cutout.stats.infer_seconds
        return cutout

    def _own_output(self, job: Job, held: Held | None) -> None:
        """Refuse to overwrite what another image (that still exists) or somebody else has made."""
        if held is None or held.source_key == source_text(job.ref.key):
            return
        if held.source_key is None:
            raise Rejected(
                "output_exists",
                f"{job.output} in the sink was not made by alphadrop; move it away, or "
                "choose other names with --output-name, for example '{dir}{stem}.cutout.png'.",
            )
        if self.source.stat(held.source_key) is not None:
            raise Rejected(
                "output_taken",
                f"{job.output} is made from {held.source_key} already; --output-name "
                "'{dir}{name}.png' gives each its own output.",
            )

    def _end(self, lease: Lease, outcome: Outcome, trip: Trip) -> None:
        if outcome is not Outcome.STALE:  # of a stale one nothing is known yet
            release(self.sink, lease.job)
        lease.done(outcome)
        self._tell(lease.job, outcome, trip)

    def _reject(self, lease: Lease, rejection: Rejection, trip: Trip) -> None:
        """Quarantine the image, unless it is another one by now: then it was only early."""
        job = lease.job
        now = self.source.stat(job.ref.key)
        if now is None or now.version != job.ref.version:
            self._end(lease, Outcome.GONE if now is None else Outcome.STALE, trip)
            return
        quarantine(self.sink, job, rejection)
        lease.reject(rejection)
        self._tell(job, Outcome.REJECTED, trip, rejection)

    def _give_back(self, lease: Lease, error: Unavailable, trip: Trip) -> None:
        """The world is in trouble, which is never the image's fault."""
        lease.release(RETRY_DELAY)
        self.tell(TroubleReport(lease.job.ref.key, trip.stage, type(error).__name__, str(error)))

    def _tell(self, job: Job, outcome: Outcome, trip: Trip, why: Rejection | None = None) -> None:
        self.tell(
            ImageReport(
                job.ref.key,
                job.id,
                outcome,
                job.output,
                why.reason if why else "",
                why.detail if why else "",
                {stage: round(seconds, 6) for stage, seconds in trip.stages.items()},
                trip.bytes_in,
                trip.bytes_out,
                trip.pixels,
                round(trip.coverage, 4),
                trip.stage,
            )
        )

    def _trip_wire(self, job: Job) -> None:
        if self.test_hook.startswith("kill:") and self.test_hook[5:] in job.ref.key:
            os.kill(os.getpid(), signal.SIGKILL)
