"""The path of one image through a worker: from its lease to its outcome."""

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
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Conflict, Gone, Rejected, Stale, Unavailable, WatcherError
from watcher.core.jobs import Facts, ImageRef, Job, Lease, Outcome, Rejection
from watcher.core.reasons import Reason
from watcher.protocol import ImageReport, Report, UnavailableReport
from watcher.stores.base import OutputInfo, Store, is_output_of
from watcher.stores.error_records import delete_error_record, write_error_record
from watcher.stores.output_metadata import png_text, recorded_source
from watcher.worker.crash_markers import CrashMarker, CrashMarkers
from watcher.worker.stage_timer import Occupancy, StageTimer

WHOLE_BUDGET = sys.maxsize
"""More pixels than any budget has."""
RETRY_DELAY = 5.0
"""Seconds before an image is tried again after a transient error."""
_PUT_ATTEMPTS = 5
"""How often a put may lose against another writer of the same output before it counts as a transient error."""


class Submit(Protocol):
    """Hands a picture to the engine."""

    def __call__(self, picture: Picture, /) -> Future[Cutout]: ...


class ImageEngine(Protocol):
    """What the path needs of an `inference.engine.Engine`."""

    core_lock: AbstractContextManager[None]
    """Held around CPU-bound work."""

    def announce(self) -> AbstractContextManager[Submit]:
        """Tell the engine that a picture is being decoded, so that it may hold a batch open for it."""
        ...


class PixelBudget:
    """Limits how many decoded pixels are in memory at a time, first come, first served.

    A picture larger than the whole budget waits until nothing else is in memory, and then gets all of it.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until this many pixels are free, and hold them inside the block."""
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
    """Processes images, one call for each; shared by all threads of a worker."""

    source: Store
    sink: Store
    engine: ImageEngine
    budget: PixelBudget
    crash_markers: CrashMarkers
    settings: Settings
    report: Callable[[Report], None]
    on_success: Callable[[ImageRef], None] = lambda ref: None
    """What is done to an image whose output is durable. May raise Gone or Stale, which are ignored, or Unavailable."""
    requeue_changed: Callable[[ImageRef], None] | None = None
    """Puts the present version of a changed image into the queue. None for folders, whose files must settle first."""
    recheck: bool = False
    """Whether to look at the image again after its output was written: where no event may report that it was
    overwritten meanwhile, or nothing else keeps an old version from replacing the output of a newer one."""
    occupancy: Occupancy = field(default_factory=Occupancy)
    """Counts the images in each stage."""

    def process(self, lease: Lease) -> None:
        """Make the output, or find out why there can be none, and end the lease.

        Raises only what must end the worker: DeviceLost, or an error that nobody expected.
        """
        with StageTimer(lease.found_at, self.occupancy) as timer:
            try:
                self._process(lease, timer)
            except (Unavailable, ConfigurationError) as error:  # a wrong setting is not the image's fault either
                self._release(lease, error, timer)

    def _process(self, lease: Lease, timer: StageTimer) -> None:
        try:
            outcome = self._make_output(lease, timer)
        except Gone:
            outcome = Outcome.GONE
        except Stale:
            outcome = Outcome.STALE
        except PictureError as error:
            self._reject(lease, Rejection(Reason(error.reason), str(error)), timer)
            return
        except Rejected as error:
            self._reject(lease, error.rejection, timer)
            return
        self._finish(lease, outcome, timer)

    def _make_output(self, lease: Lease, timer: StageTimer) -> Outcome:
        job = lease.job
        present = self.sink.output_info(job.output)
        if is_output_of(present, job):  # an earlier worker put it, and died before the acknowledgement
            return Outcome.ALREADY_DONE
        self._require_own(job, present)
        marker = self.crash_markers.read(job) if lease.suspect else None
        with timer.timed("read"):
            data = self.source.read(job.ref)
        timer.bytes_in = len(data)
        timer.enter("decode")
        with self._memory_for(data, marker):
            cutout = self._cut_out(data, job, timer)
            del data
            with self.engine.core_lock, timer.timed("encode"):
                facts = Facts(cutout.coverage)
                png = encode(cutout, text=png_text(job, facts), level=self.settings.png_level)
            timer.coverage, timer.bytes_out = facts.matte_coverage, len(png)
            del cutout
        with timer.timed("put"):
            return self._put(job, png, facts, present)

    @contextmanager
    def _memory_for(self, data: bytes, marker: CrashMarker | None) -> Iterator[None]:
        """Wait until the picture may be in memory; a crash suspect gets the whole budget, so that it runs alone."""
        if marker:
            with self.budget.hold(WHOLE_BUDGET), self.crash_markers.guard(marker):
                probe(data)
                yield
        else:
            info = probe(data)
            with self.budget.hold(info.width * info.height):
                yield

    def _put(self, job: Job, png: bytes, facts: Facts, present: OutputInfo | None) -> Outcome:
        """Write the output over the present one, unless another writer was faster with this job or a newer version."""
        for _ in range(_PUT_ATTEMPTS):
            try:
                self.sink.put(job, png, present, facts)
                if self.recheck:
                    with contextlib.suppress(Gone):
                        self._require_current(job.ref)
                return Outcome.WRITTEN
            except Conflict:
                present = self.sink.output_info(job.output)
                if is_output_of(present, job):  # by another worker, or by this one, and the answer was lost
                    return Outcome.ALREADY_DONE
                self._require_own(job, present)
                self._require_current(job.ref)
        raise Unavailable(f"{job.output} was changed by another writer {_PUT_ATTEMPTS} times during this put")

    def _require_current(self, ref: ImageRef) -> None:
        """Raise Gone or Stale unless the source still holds this version."""
        now = self.source.stat(ref.key)
        if now is None:
            raise Gone(f"{ref.key} is not there any more")
        if now.version != ref.version:
            raise Stale(f"{ref.key} has changed since it was read")

    def _cut_out(self, data: bytes, job: Job, timer: StageTimer) -> Cutout:
        """Decode and infer."""
        with self.engine.announce() as submit:
            self._crash_if_told(job)
            with self.engine.core_lock, timer.timed("decode"):
                picture = decode(data, max_pixels=self.settings.max_pixels)
            timer.pixels = picture.width * picture.height
            rgba = None if self.settings.input_alpha == "ignore" else picture.rgba
            if rgba is not None and self.settings.input_alpha == "trust":
                return Cutout(rgba)
            with timer.timed("infer"):
                future = submit(picture)
                del picture, data
                cutout = future.result()
            if rgba is not None:
                cutout = cutout.multiplied(rgba)
        if cutout.stats:
            timer.split("infer", "batch_wait", cutout.stats.infer_seconds)
        return cutout

    def _require_own(self, job: Job, present: OutputInfo | None) -> None:
        """Raise Rejected where the output was made from another image that still exists, or not by alphadrop."""
        if present is None or present.source_key == recorded_source(job.ref.key):
            return
        if present.source_key is None:
            raise Rejected(
                Reason.OUTPUT_EXISTS,
                f"{job.output} in the sink was not made by alphadrop; move it away, or "
                "choose other names with --output-name, for example '{dir}{stem}.cutout.png'.",
            )
        if self.source.stat(present.source_key) is not None:
            raise Rejected(
                Reason.OUTPUT_TAKEN,
                f"{job.output} is made from {present.source_key} already; --output-name "
                "'{dir}{name}.png' gives each its own output.",
            )

    def _finish(self, lease: Lease, outcome: Outcome, timer: StageTimer) -> None:
        if outcome is Outcome.STALE:  # its new version may fail for the same reason, so the error record stays
            self._requeue(lease.job.ref)
        else:
            delete_error_record(self.sink, lease.job)
        if outcome in (Outcome.WRITTEN, Outcome.ALREADY_DONE):
            with contextlib.suppress(Gone, Stale):
                self.on_success(lease.job.ref)
        lease.done(outcome)
        self._report(lease.job, outcome, timer)

    def _requeue(self, ref: ImageRef) -> None:
        now = self.source.stat(ref.key) if self.requeue_changed else None
        if self.requeue_changed and now is not None and now.version != ref.version:
            self.requeue_changed(now)

    def _reject(self, lease: Lease, rejection: Rejection, timer: StageTimer) -> None:
        """Quarantine the image, unless it has changed by now: then it was only read too early."""
        job = lease.job
        now = self.source.stat(job.ref.key)
        if now is None or now.version != job.ref.version:
            self._finish(lease, Outcome.GONE if now is None else Outcome.STALE, timer)
            return
        write_error_record(self.sink, job, rejection)
        lease.reject(rejection)
        self._report(job, Outcome.REJECTED, timer, rejection)

    def _release(self, lease: Lease, error: WatcherError, timer: StageTimer) -> None:
        """Put the job back into the queue after a transient error, which is never the image's fault."""
        lease.release(RETRY_DELAY)
        self.report(
            UnavailableReport(
                key=lease.job.ref.key,
                job=lease.job.id,
                stage=timer.stage,
                reason=error.reason,
                detail=str(error),
                public=error.public,
                **timer.times(),
            )
        )

    def _report(self, job: Job, outcome: Outcome, timer: StageTimer, rejection: Rejection | None = None) -> None:
        self.report(
            ImageReport(
                key=job.ref.key,
                job=job.id,
                outcome=outcome,
                output=job.output,
                reason=rejection.reason if rejection else "",
                detail=rejection.detail if rejection else "",
                bytes_in=timer.bytes_in,
                bytes_out=timer.bytes_out,
                pixels=timer.pixels,
                coverage=round(timer.coverage, 4),
                stage=timer.stage,
                **timer.times(),
            )
        )

    def _crash_if_told(self, job: Job) -> None:
        """For tests: the setting `kill:TEXT` kills the process when it decodes an image whose key contains TEXT."""
        hook = self.settings.test_hook
        if hook.startswith("kill:") and hook[5:] in job.ref.key:
            os.kill(os.getpid(), signal.SIGKILL)
