"""The path of one image through a worker: from its lease to its outcome."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from inference.codec import decode, probe
from inference.compose import SourceMetadata
from inference.errors import DeviceFull, PictureError
from inference.picture import Cutout, Picture
from inference.review.doubts import Doubt
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError, Gone, Rejected, Stale, Unavailable, WatcherError
from watcher.core.jobs import ImageRef, Job, Lease, Outcome, Output, Rejection
from watcher.core.notification import Matte, Notification, OutputFile
from watcher.core.reasons import Reason
from watcher.notify.writer import NotificationWriter
from watcher.protocol import ImageReport, Report, SuspectReport, UnavailableReport
from watcher.stores.base import OutputInfo, Store
from watcher.stores.error_records import delete_error_record, write_error_record
from watcher.telemetry.manifest import ManifestWriter
from watcher.worker.crash_markers import CrashMarker, CrashMarkers
from watcher.worker.decode_watch import DecodeWatch
from watcher.worker.output_maker import EncodedOutput, OutputMaker, PlannedOutput, needed_of_source, pixels_in_memory
from watcher.worker.output_report import report_of, report_of_present
from watcher.worker.output_writer import OutputWriter
from watcher.worker.stage_timer import Occupancy, StageTimer

WHOLE_BUDGET = sys.maxsize
"""More pixels than any budget has."""
RETRY_DELAY = 5.0
"""Seconds before an image is tried again after a transient error."""


class Submit(Protocol):
    """Hands a picture to the engine."""

    def __call__(self, picture: Picture, /) -> Future[Cutout]: ...


class ImageEngine(Protocol):
    """What the path needs of an `inference.engine.Engine`."""

    core_lock: AbstractContextManager[None]
    """Held around CPU-bound work."""

    @property
    def takes_rgbx(self) -> bool:
        """Whether pictures should be decoded to four bytes a pixel, in which the engine then works."""
        ...

    def announce(self) -> AbstractContextManager[Submit]:
        """Tell the engine that a picture is being decoded, so that it may hold a batch open for it."""
        ...


class PixelBudget:
    """Limits how many decoded pixels are in memory at a time, first come, first served.

    A picture larger than the whole budget waits until nothing else is in memory, and then gets all of it.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._lock = threading.Lock()
        self._waiting: deque[_Turn] = deque()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until this many pixels are free, and hold them inside the block."""
        wanted = min(pixels, self._all)
        self._take(wanted)
        try:
            yield
        finally:
            self._release_pixels(wanted)

    def _take(self, wanted: int) -> None:
        turn = _Turn(wanted)
        with self._lock:
            self._waiting.append(turn)
            self._grant()
        turn.granted.wait()

    def _release_pixels(self, pixels: int) -> None:
        with self._lock:
            self._free += pixels
            self._grant()

    def _grant(self) -> None:
        """Wake who is next, if there is room, and nobody else: each wake-up takes the interpreter from the device."""
        while self._waiting and self._free >= self._waiting[0].wanted:
            turn = self._waiting.popleft()
            self._free -= turn.wanted
            turn.granted.set()


@dataclass(frozen=True, eq=False)
class _Turn:
    """A thread that waits for its pixels."""

    wanted: int
    granted: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class ImagePath:
    """Processes images, one call for each; shared by all threads of a worker."""

    source: Store
    sink: Store
    engine: ImageEngine
    budget: PixelBudget
    crash_markers: CrashMarkers
    outputs: OutputMaker
    settings: Settings
    report: Callable[[Report], None]
    on_success: Callable[[ImageRef], None] = lambda ref: None
    """What is done to an image whose output is durable. May raise Gone or Stale, which are ignored, or Unavailable."""
    requeue_changed: Callable[[ImageRef], None] | None = None
    """Puts the present version of a changed image into the queue. None for folders, whose files must settle first."""
    recheck: bool = False
    """Whether to look at the image again after its output was written: where no event may report that it was
    overwritten meanwhile, or nothing else keeps an old version from replacing the output of a newer one."""
    manifest: ManifestWriter | None = None
    """Lists each finished image before its lease ends, so that none is missing after a kill."""
    notifications: NotificationWriter | None = None
    """Writes the notification of each finished image for the outbox; None where there is no receiver."""
    occupancy: Occupancy = field(default_factory=Occupancy)
    """Counts the images in each stage."""

    @cached_property
    def decodings(self) -> DecodeWatch:
        """What is being decoded, for whoever ends the worker when that takes too long."""
        return DecodeWatch(self.settings.decode_timeout)

    @property
    def _writer(self) -> OutputWriter:
        return OutputWriter(self.source, self.sink, self.recheck)

    def process(self, lease: Lease, made: Callable[[], None] = lambda: None) -> None:
        """Make the outputs, or find out why there can be none, and end the lease.

        Calls `made` when the files are made, and only have to be written. Raises only what must end the worker:
        DeviceLost, or an error that nobody expected.
        """
        with StageTimer(lease.found_at, self.occupancy) as timer:
            try:
                self._process(lease, timer, made)
            except (Unavailable, ConfigurationError) as error:  # a wrong setting is not the image's fault either
                self._release(lease, error, timer)

    def _process(self, lease: Lease, timer: StageTimer, made: Callable[[], None]) -> None:
        try:
            outcome = self._make_outputs(lease, timer, made)
        except Gone:
            outcome = Outcome.GONE
        except Stale:
            outcome = Outcome.STALE
        except DeviceFull as error:
            raise Unavailable(str(error), public="the device's memory is full; the log has the details") from error
        except PictureError as error:
            self._reject(lease, Rejection(Reason(error.reason), str(error)), timer)
            return
        except Rejected as error:
            self._reject(lease, error.rejection, timer)
            return
        self._finish(lease, outcome, timer)

    def _make_outputs(self, lease: Lease, timer: StageTimer, made: Callable[[], None]) -> Outcome:
        job, plans = lease.job, self.outputs.plan(lease.job.ref)
        outdated = self._writer.outdated([plan.output for plan in plans])
        if self.manifest:
            timer.outputs += [report_of_present(self.sink, plan) for plan in plans if plan.output not in outdated]
        if not outdated:  # an earlier worker put them, and died before the acknowledgement
            return Outcome.ALREADY_DONE
        plans = [plan for plan in plans if plan.output in outdated]
        marker = self.crash_markers.read(job) if lease.suspect else None
        if lease.alone:
            self.crash_markers.require_in_time(job)
        if lease.alone or marker:
            self.report(SuspectReport(key=job.ref.key))
        with timer.timed("read"):
            data = self.source.read(job.ref)
        timer.bytes_in = len(data)
        timer.enter("decode")
        with self._memory_for(data, plans, marker):
            cutout, carried = self._cut_out(data, lease, plans, timer)
            del data
            with self.engine.core_lock, timer.timed("encode"):
                encoded = self.outputs.encode(plans, cutout, carried)
            timer.coverage, timer.review, timer.other = cutout.coverage, cutout.review, cutout.other
            timer.by_strong, timer.model = cutout.by_strong, self.outputs.model_of(cutout)
            del cutout, carried
        made()
        with timer.timed("put"):
            return self._put(encoded, outdated, timer)

    @contextmanager
    def _memory_for(self, data: bytes, plans: Sequence[PlannedOutput], marker: CrashMarker | None) -> Iterator[None]:
        """Wait until the picture and what is composed of it may be in memory.

        A crash suspect gets the whole budget, so that it runs alone.
        """
        if marker:
            with self.budget.hold(WHOLE_BUDGET), self.crash_markers.guard(marker):
                probe(data)
                yield
        else:
            info = probe(data)
            with self.budget.hold(pixels_in_memory(plans, info)):
                yield

    def _put(
        self, encoded: Sequence[EncodedOutput], outdated: Mapping[Output, OutputInfo | None], timer: StageTimer
    ) -> Outcome:
        """Write the outputs one after the other; what is in the sink stays there if a later one fails."""
        outcome = Outcome.ALREADY_DONE
        for made in encoded:
            output = made.plan.output
            self._crash_if_told("kill-put", output.key)
            if self._writer.put(output, made.data, made.facts, outdated[output]) is Outcome.WRITTEN:
                outcome = Outcome.WRITTEN
                timer.bytes_out += len(made.data)
                timer.outputs.append(report_of(made, digest=self.manifest is not None))
            elif self.manifest:
                timer.outputs.append(report_of_present(self.sink, made.plan))
        return outcome

    def _cut_out(
        self, data: bytes, lease: Lease, plans: Sequence[PlannedOutput], timer: StageTimer
    ) -> tuple[Cutout, SourceMetadata]:
        """Decode and infer; with what the outputs carry over from the file."""
        with self.engine.announce() as submit:
            job, alone = lease.job, lease.alone or lease.suspect
            self._crash_if_told("kill", job.ref.key)
            with self.engine.core_lock, timer.timed("decode"), self.decodings.watching(job, alone=alone):
                self._hang_if_told(job.ref.key)
                keep = self.settings.truncated == "keep"
                limit, rgbx = self.settings.max_pixels, self.engine.takes_rgbx
                picture = decode(data, max_pixels=limit, keep_truncated=keep, rgbx=rgbx)
                carried = needed_of_source(data, plans, self.settings.max_pixels)
            timer.pixels, timer.truncated = picture.width * picture.height, picture.truncated
            rgba = None if self.settings.input_alpha == "ignore" else picture.rgba
            if rgba is not None and self.settings.input_alpha == "trust":
                return Cutout(rgba), carried
            with timer.timed("infer"):
                future = submit(picture)
                del picture, data
                cutout = future.result()
            self.crash_markers.device_works()
            if rgba is not None:
                cutout = cutout.multiplied(rgba)
        if timer.truncated:
            cutout = cutout.doubted(Doubt.INCOMPLETE)
        if cutout.stats:
            timer.split("infer", "batch_wait", cutout.stats.infer_seconds)
        return cutout, carried

    def _finish(self, lease: Lease, outcome: Outcome, timer: StageTimer) -> None:
        if outcome is Outcome.STALE:  # its new version may fail for the same reason, so the error record stays
            self._requeue(lease.job.ref)
        else:
            delete_error_record(self.sink, lease.job)
        if self.manifest:
            self.manifest.add(self._report_on(lease.job, outcome, timer))
        if outcome in (Outcome.WRITTEN, Outcome.ALREADY_DONE):
            with contextlib.suppress(Gone, Stale):
                self.on_success(lease.job.ref)
        lease.done(outcome, self._notification(lease, outcome, timer))
        self.report(self._report_on(lease.job, outcome, timer))

    def _notification(self, lease: Lease, outcome: Outcome, timer: StageTimer) -> Notification | None:
        """What a notification says about durable outputs. Of earlier ones, size and box are not known."""
        if self.notifications is None or outcome not in (Outcome.WRITTEN, Outcome.ALREADY_DONE):
            return None
        known = {output.key: output.model_dump(exclude={"written"}) for output in timer.outputs}
        plans = self.outputs.plan(lease.job.ref)
        named = [{"name": one.recipe.name, "key": one.output.key, "format": one.spec.format} for one in plans]
        files = [OutputFile.model_validate(output | known.get(output["key"], {})) for output in named]
        matte = _matte_of(timer) if outcome is Outcome.WRITTEN else None
        return self.notifications.done(lease.job, lease.found_at, files, matte)

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
        if self.manifest:
            self.manifest.add(self._report_on(job, Outcome.REJECTED, timer, rejection))
        tell = self.notifications
        lease.reject(rejection, tell.rejected(job, rejection, lease.found_at) if tell else None)
        self.report(self._report_on(job, Outcome.REJECTED, timer, rejection))

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

    def _report_on(
        self, job: Job, outcome: Outcome, timer: StageTimer, rejection: Rejection | None = None
    ) -> ImageReport:
        return ImageReport(
            key=job.ref.key,
            job=job.id,
            outcome=outcome,
            output=job.output,
            outputs=timer.outputs,
            reason=rejection.reason if rejection else "",
            detail=rejection.detail if rejection else "",
            bytes_in=timer.bytes_in,
            bytes_out=timer.bytes_out,
            pixels=timer.pixels,
            coverage=round(timer.coverage, 4),
            confidence=round(timer.review.confidence, 4) if timer.review else None,
            doubts=list(timer.review.doubts) if timer.review else [],
            model=timer.model,
            other_confidence=round(timer.other.confidence, 4) if timer.other else None,
            by_strong=timer.by_strong,
            truncated=timer.truncated,
            stage=timer.stage,
            **timer.times(),
        )

    def _crash_if_told(self, step: str, key: str) -> None:
        """For tests: the setting `STEP:TEXT` kills the process at this step of a key that contains TEXT."""
        wanted, _, text = self.settings.test_hook.partition(":")
        if wanted == step and text in key:
            os.kill(os.getpid(), signal.SIGKILL)

    def _hang_if_told(self, key: str) -> None:
        """For tests: with the setting `hang:TEXT`, decoding a key that contains TEXT never ends."""
        wanted, _, text = self.settings.test_hook.partition(":")
        if wanted == "hang" and text in key:
            threading.Event().wait()


def _matte_of(timer: StageTimer) -> Matte:
    """What a notification says of the matte that an image's thread has made."""
    review, other = timer.review, timer.other
    return Matte(
        round(timer.coverage, 4),
        round(review.confidence, 4) if review else None,
        tuple(review.doubts) if review else None,
        timer.model if review else None,
        round(other.confidence, 4) if other else None,
    )
