"""The path of one image: from a lease to its outcome, in one function that reads from top to bottom."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from inference.codec import decode, encode, probe
from inference.errors import PictureError
from inference.picture import Cutout, Picture
from watcher.core.errors import ConfigurationError, Conflict, Gone, Rejected, Stale, Unavailable, WatcherError
from watcher.core.jobs import Facts, ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.protocol import ImageReport, Report, UnavailableReport
from watcher.stores.base import OutputInfo, Store, is_output_of
from watcher.stores.error_records import delete_error_record, write_error_record
from watcher.stores.output_metadata import png_text, recorded_source
from watcher.worker.crash_markers import CrashMarker, CrashMarkers
from watcher.worker.stage_timer import Occupancy, Trip

EVERYTHING = sys.maxsize
"""More pixels than any budget has."""
RETRY_DELAY = 5.0
"""Seconds before an image is tried again after the world was in trouble."""
_RACES = 5
"""So often an output may be changed by others while one is to be written; then something is wrong with the world."""


class Submit(Protocol):
    """Hands a picture to the engine."""

    def __call__(self, picture: Picture, /) -> Future[Cutout]: ...


class Coming(Protocol):
    """What the path needs of an engine."""

    core_lock: AbstractContextManager[None]
    """To be held by whoever computes."""

    def announce(self) -> AbstractContextManager[Submit]: ...


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
            if self._waiting:
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


@dataclass(frozen=True)
class ImagePath:
    """Everything an image meets on its way; one for all threads of a worker."""

    source: Store
    sink: Store
    engine: Coming
    budget: PixelBudget
    crash_markers: CrashMarkers
    max_pixels: int
    png_level: int
    tell: Callable[[Report], None]
    after: Callable[[ImageRef], None] = lambda ref: None
    """What is done to an image whose output is durable. May raise Gone or Stale, which is all right, or Unavailable."""
    renew: Callable[[ImageRef], None] | None = None
    """Takes the present version of an image that has changed, where objects appear whole and need not settle."""
    recheck: bool = False
    """Look at the image once more when its output is written: where no event may tell that it was overwritten
    meanwhile, or nothing else keeps an old version from replacing the output of a newer one."""
    occupancy: Occupancy = field(default_factory=Occupancy)
    """Is told in which stage each image is."""
    test_hook: str = ""
    """`kill:TEXT` kills the process when a picture whose key holds TEXT is decoded."""

    def process(self, lease: Lease) -> None:
        """Make the output, or find out why not; either way the lease ends. Raises only what ends the worker."""
        with Trip(lease.found_at, self.occupancy) as trip:
            try:
                self._settle(lease, trip)
            except (Unavailable, ConfigurationError) as error:  # a wrong setting is not the image's fault either
                self._give_back(lease, error, trip)

    def _settle(self, lease: Lease, trip: Trip) -> None:
        """One image, one verdict. Unavailable passes, whichever step it comes from."""
        try:
            outcome = self._make(lease, trip)
        except Gone:
            outcome = Outcome.GONE
        except Stale:
            outcome = Outcome.STALE
        except PictureError as error:
            self._reject(lease, Rejection(Reason(error.reason), str(error)), trip)
            return
        except Rejected as error:
            self._reject(lease, error.rejection, trip)
            return
        self._end(lease, outcome, trip)

    def _make(self, lease: Lease, trip: Trip) -> Outcome:
        job = lease.job
        held = self.sink.output_info(job.output)
        if is_output_of(held, job):  # the put has happened, its acknowledgement has not
            return Outcome.ALREADY_DONE
        self._own_output(job, held)
        peril = self.crash_markers.of(job) if lease.suspect else None
        with trip.timed("read"):
            data = self.source.read(job.ref)
        trip.bytes_in = len(data)
        trip.enter("decode")
        with self._room(data, peril):
            cutout = self._cut_out(data, job, trip)
            del data
            with self.engine.core_lock, trip.timed("encode"):
                facts = Facts(cutout.coverage)
                png = encode(cutout, text=png_text(job, facts), level=self.png_level)
            trip.coverage, trip.bytes_out = facts.matte_coverage, len(png)
            del cutout
        with trip.timed("put"):
            return self._put(job, png, facts, held)

    @contextmanager
    def _room(self, data: bytes, peril: CrashMarker | None) -> Iterator[None]:
        """Wait until the picture may be in memory; one in peril has the worker to itself."""
        if peril:
            with self.budget.hold(EVERYTHING), self.crash_markers.entered(peril):
                probe(data)
                yield
        else:
            info = probe(data)
            with self.budget.hold(info.width * info.height):
                yield

    def _put(self, job: Job, png: bytes, facts: Facts, held: OutputInfo | None) -> Outcome:
        """Write the output, and look again where somebody was faster: a newer version's output stays."""
        for _ in range(_RACES):
            try:
                self.sink.put(job, png, held, facts)
                if self.recheck:
                    with contextlib.suppress(Gone):
                        self._require_current(job.ref)
                return Outcome.WRITTEN
            except Conflict:
                held = self.sink.output_info(job.output)
                if is_output_of(held, job):  # by another worker, or by us, and the answer was lost
                    return Outcome.ALREADY_DONE
                self._own_output(job, held)
                self._require_current(job.ref)
        raise Unavailable(f"{job.output} is changed by somebody else again and again")

    def _require_current(self, ref: ImageRef) -> None:
        now = self.source.stat(ref.key)
        if now is None:
            raise Gone(f"{ref.key} is not there any more")
        if now.version != ref.version:
            raise Stale(f"{ref.key} has changed since it was read")

    def _cut_out(self, data: bytes, job: Job, trip: Trip) -> Cutout:
        """Decode and infer. The engine knows from the start that a picture is on its way."""
        with self.engine.announce() as submit:
            self._trip_wire(job)
            with self.engine.core_lock, trip.timed("decode"):
                picture = decode(data, max_pixels=self.max_pixels)
            trip.pixels = picture.width * picture.height
            with trip.timed("infer"):
                promise = submit(picture)
                del picture, data
                cutout = promise.result()
        if cutout.stats:
            trip.split("infer", "batch_wait", cutout.stats.infer_seconds)
        return cutout

    def _own_output(self, job: Job, held: OutputInfo | None) -> None:
        """Refuse to overwrite what another image (that still exists) or somebody else has made."""
        if held is None or held.source_key == recorded_source(job.ref.key):
            return
        if held.source_key is None:
            raise Rejected(
                Reason.OUTPUT_EXISTS,
                f"{job.output} in the sink was not made by alphadrop; move it away, or "
                "choose other names with --output-name, for example '{dir}{stem}.cutout.png'.",
            )
        if self.source.stat(held.source_key) is not None:
            raise Rejected(
                Reason.OUTPUT_TAKEN,
                f"{job.output} is made from {held.source_key} already; --output-name "
                "'{dir}{name}.png' gives each its own output.",
            )

    def _end(self, lease: Lease, outcome: Outcome, trip: Trip) -> None:
        if outcome is Outcome.STALE:  # nothing is known yet of what it is now
            self._renew(lease.job.ref)
        else:
            delete_error_record(self.sink, lease.job)
        if outcome in (Outcome.WRITTEN, Outcome.ALREADY_DONE):
            with contextlib.suppress(Gone, Stale):
                self.after(lease.job.ref)
        lease.done(outcome)
        self._tell(lease.job, outcome, trip)

    def _renew(self, ref: ImageRef) -> None:
        now = self.source.stat(ref.key) if self.renew else None
        if self.renew and now is not None and now.version != ref.version:
            self.renew(now)

    def _reject(self, lease: Lease, rejection: Rejection, trip: Trip) -> None:
        """Quarantine the image, unless it is another one by now: then it was only early."""
        job = lease.job
        now = self.source.stat(job.ref.key)
        if now is None or now.version != job.ref.version:
            self._end(lease, Outcome.GONE if now is None else Outcome.STALE, trip)
            return
        write_error_record(self.sink, job, rejection)
        lease.reject(rejection)
        self._tell(job, Outcome.REJECTED, trip, rejection)

    def _give_back(self, lease: Lease, error: WatcherError, trip: Trip) -> None:
        """The world is in trouble, which is never the image's fault."""
        lease.release(RETRY_DELAY)
        self.tell(
            UnavailableReport(
                key=lease.job.ref.key,
                job=lease.job.id,
                stage=trip.stage,
                reason=error.reason,
                detail=str(error),
                public=error.public,
                **trip.times(),
            )
        )

    def _tell(self, job: Job, outcome: Outcome, trip: Trip, why: Rejection | None = None) -> None:
        self.tell(
            ImageReport(
                key=job.ref.key,
                job=job.id,
                outcome=outcome,
                output=job.output,
                reason=why.reason if why else "",
                detail=why.detail if why else "",
                bytes_in=trip.bytes_in,
                bytes_out=trip.bytes_out,
                pixels=trip.pixels,
                coverage=round(trip.coverage, 4),
                stage=trip.stage,
                **trip.times(),
            )
        )

    def _trip_wire(self, job: Job) -> None:
        if self.test_hook.startswith("kill:") and self.test_hook[5:] in job.ref.key:
            os.kill(os.getpid(), signal.SIGKILL)
