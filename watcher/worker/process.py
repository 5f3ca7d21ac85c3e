"""The worker process: owns one device, leases jobs and makes outputs.

`python -m watcher.worker.process` reads a `WorkerStart` from the first line of its standard input, then one `Command` a
line; it writes one report a line to its standard output. When its input ends, its supervisor is dead, and it exits at
once: its jobs are still in the queue.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TextIO

import psutil
import structlog

from inference.errors import DeviceFull, DeviceLost, ModelError, PictureTooLargeForDevice
from inference.picture import BatchStats, textured_picture
from watcher.config.settings import Settings
from watcher.core.backoff import Backoff
from watcher.core.counts import Counts
from watcher.core.errors import Unavailable
from watcher.core.jobs import ImageRef
from watcher.notify.sender import Sender
from watcher.protocol import (
    AfterDeath,
    BatchReport,
    Command,
    CountsReport,
    ExitCode,
    HeartbeatReport,
    NotificationsReport,
    ReadyReport,
    RehearsalReport,
    Report,
    WorkerStart,
    decode_start,
    encode,
)
from watcher.queues.base import Queue
from watcher.telemetry.logs import configure
from watcher.wiring import Wiring
from watcher.worker.after_success import success_action
from watcher.worker.crash_markers import CrashMarkers
from watcher.worker.engines import open_engine
from watcher.worker.image_path import ImagePath, PixelBudget
from watcher.worker.loop import QUEUE_BACKOFF, WorkerLoop, queue_failure
from watcher.worker.output_maker import OutputMaker

if TYPE_CHECKING:
    from watcher.worker.engines import AnyEngine

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 1.0
NOTIFY_SECONDS = 5.0
"""Patience with the receiver of notifications at the end; the messages of those that are left are redelivered."""
SWITCH_INTERVAL = 0.001
"""Seconds after which a thread that computes in Python lets the next one run, beside a GPU. By default it is five times
as long, in which a device thread could have launched a whole batch."""
MAX_IN_FLIGHT = 66
"""Most images in flight where a GPU chooses its batch size: what one worker has leased, no other can take."""

WRITING = 6
"""Images in flight beyond those that are being made: for those whose files only have to be written. Few, since a broker
may hand a worker as many messages that it does not work on yet."""


class Reporter:
    """Sends reports to the supervisor, from any thread; ends the process when the supervisor is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, report: Report) -> None:
        """Send one report."""
        line = encode(report) + "\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError:
                os._exit(ExitCode.FINISHED)


def default_capacity(engine: AnyEngine) -> int:
    """Images being made so that the next batch is decoded and the last one encoded while the device works.

    When a CPU looks for its next batch, the last picture of the one before still has to be encoded, another one is
    being encoded, and a third is being decoded: with fewer than three places for these, no batch is full.
    """
    if engine.options.device == "cpu":
        return engine.places + 3
    enough = 2 * engine.places + 2
    return enough if engine.options.batch else min(MAX_IN_FLIGHT, enough)


def log_slowdowns(engine: AnyEngine) -> None:
    """Log once what makes the device slower than it could be."""
    for note in engine.slowdowns:
        log.warning("device_not_optimal", device=engine.options.device, problem=note)


def make_path(
    wiring: Wiring, engine: AnyEngine, queue: Queue, counts: Counts, report: Reporter, count_deaths: bool
) -> ImagePath:
    """The path that every image takes through this worker."""
    settings = wiring.settings
    source, sink = wiring.open_source(counts), wiring.open_sink(counts)
    return ImagePath(
        source,
        sink,
        engine,
        PixelBudget(int(settings.megapixels_in_flight * 1e6)),
        CrashMarkers(sink, count_deaths=count_deaths),
        OutputMaker.of(settings, wiring.recipe, wiring.model, wiring.strong),
        settings,
        report,
        on_success=success_action(settings.after, source),
        requeue_changed=requeue_action(wiring, queue),
        manifest=wiring.open_manifest(counts),
        recheck=wiring.source_is_bucket or (wiring.shared and not wiring.sink_has_conditional_writes),
        notifications=wiring.notifications,
    )


def requeue_action(wiring: Wiring, queue: Queue) -> Callable[[ImageRef], None] | None:
    """What puts the present version of a changed object into the queue; None for files, which may still be changing."""
    if not wiring.source_is_bucket:
        return None

    def requeue(ref: ImageRef) -> None:
        queue.put([wiring.recipe.job(ref)])

    return requeue


def open_sender(wiring: Wiring, queue: Queue, counts: Counts, report: Reporter) -> Sender | None:
    """The sender of this worker's notifications; None where there is no receiver, or the supervisor sends them.

    Messages of a broker's queue are acknowledged only after that, so that no notification needs a place of its own.
    """
    if not (wiring.shared and wiring.settings.notify):
        return None
    return Sender(
        queue.outbox, wiring.open_target(counts), lambda progress: report(NotificationsReport(progress=progress))
    )


def send_heartbeats(settings: Settings, engine: AnyEngine, loop: WorkerLoop, counts: Counts, report: Reporter) -> None:
    """Report every second; end the process when the device hangs or is lost."""
    device, process = engine.options.device, psutil.Process()
    while True:
        try:
            stats = engine.stats()
        except RuntimeError as error:  # CUDA answers nothing any more once a kernel has failed
            log.error("device_unreadable", device=device, problem=str(error))
            os._exit(ExitCode.DEVICE_LOST)
        report(
            HeartbeatReport(
                device=device,
                memory=stats.memory,
                batch_limit=engine.batch_limit,
                out_of_memory=stats.out_of_memory,
                busy_seconds=round(stats.busy_seconds, 3),
                in_flight=loop.in_flight,
                stages=loop.path.occupancy.snapshot(stats.running),
                gpu=stats.gpu,
                cpu_seconds=round(time.process_time(), 3),
                resident_bytes=resident_bytes(process),
            )
        )
        report(CountsReport(counts=counts.snapshot()))
        if stats.busy_since and time.monotonic() - stats.busy_since > settings.device_timeout:
            log.error("device_stuck", device=device, seconds=settings.device_timeout)
            os._exit(ExitCode.DEVICE_STUCK)
        end_stuck_decoding(loop.path)
        engine.lost.wait(HEARTBEAT_SECONDS)
        if engine.lost.is_set():
            # The images in flight fail now and end the loop; an idle worker has nobody else to notice.
            time.sleep(HEARTBEAT_SECONDS)
            os._exit(ExitCode.DEVICE_LOST)


def resident_bytes(process: psutil.Process) -> int | None:
    """Resident memory of a process; None where the kernel does not say, as when there are no descriptors left."""
    try:
        rss: int = process.memory_info().rss
    except (OSError, psutil.Error):
        return None
    return rss


def end_stuck_decoding(path: ImagePath) -> None:
    """End the process if decoding a picture takes too long, so that the picture runs alone next time.

    If it has been decoded alone already, its crash marker lets the next worker reject it.
    """
    stuck = path.decodings.overdue()
    if stuck is None:
        return
    limit = path.decodings.limit
    log.error("decode_stuck", key=stuck.job.ref.key, seconds=limit, alone=stuck.alone)
    if stuck.alone:
        try:
            path.crash_markers.record_timeout(stuck.job, limit)
        except Unavailable as error:  # then it is tried again, alone
            log.error("crash_marker_not_written", key=stuck.job.ref.key, problem=str(error))
    os._exit(ExitCode.DECODE_STUCK)


def follow_commands(loop: WorkerLoop, commands: TextIO) -> None:
    """Follow the supervisor's commands; exit at once when it is gone."""
    for line in commands:
        if line.strip() == Command.DRAIN:
            loop.drain()
        else:
            loop.wake()
    os._exit(ExitCode.FINISHED)


def serve(start: WorkerStart, commands: TextIO, report: Reporter) -> ExitCode:
    """Start the engine, and work until drained."""
    settings, model = start.settings, start.model
    keep_to_cores(start.cores)

    rehearsed = threading.Event()

    def on_batch(stats: BatchStats) -> None:
        if not rehearsed.is_set():
            return  # no image's batch
        report(
            BatchReport(
                device=start.device,
                size=stats.size,
                slots=stats.slots,
                trigger=stats.trigger,
                seconds=stats.infer_seconds,
            )
        )

    if start.device.startswith("cuda"):
        sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        engine = open_engine(start, on_batch)
        warmup_seconds = engine.start()
    except ModelError as error:
        log.error("model_unusable", problem=str(error))
        return ExitCode.CONFIGURATION
    log_slowdowns(engine)
    capacity, counts = settings.images_in_flight or default_capacity(engine), Counts()
    most = settings.images_in_flight or capacity + WRITING
    wiring = Wiring(settings, model, start.conditional_writes, strong=start.strong, broker_visible=False)
    wiring = wiring.for_threads(most)
    queue = until_available(lambda: wiring.open_queue(counts, capacity=most), report)
    path = make_path(wiring, engine, queue, counts, report, start.count_deaths)
    suspect_first = start.after is AfterDeath.SUSPECT_FIRST
    loop = WorkerLoop(start.owner, path, queue, capacity, report, most, suspect_first=suspect_first)
    sender = open_sender(wiring, queue, counts, report)
    if sender:
        sender.start()
    signal.signal(signal.SIGTERM, lambda *_: loop.drain())
    arguments = (settings, engine, loop, counts, report)
    heartbeat = threading.Thread(target=send_heartbeats, args=arguments, daemon=True, name="heartbeat")
    if start.after is AfterDeath.REHEARSE:
        heartbeat.start()  # it ends the process if the device has failed
        if rehearse(engine, report):
            path.crash_markers.device_works()
    rehearsed.set()
    report(
        ReadyReport(
            device=start.device,
            device_name=engine.device_name,
            model=model.name if start.strong is None else f"{model.name}, {start.strong.name}",
            warmup_seconds=round(warmup_seconds, 3),
            uuid=engine.uuid,
        )
    )
    threading.Thread(target=follow_commands, args=(loop, commands), daemon=True, name="commands").start()
    if heartbeat.ident is None:
        heartbeat.start()
    gc.freeze()  # torch's objects stay; looking at them again and again takes longer than what an image leaves
    loop.run()
    if sender:
        sender.drain(NOTIFY_SECONDS)
        sender.stop(NOTIFY_SECONDS)
    queue.close()
    report(CountsReport(counts=counts.snapshot()))
    engine.close()
    return ExitCode.FINISHED


def keep_to_cores(cores: Collection[int]) -> None:
    """Let this process, and the threads that it starts from now on, run on these cores only; none means any.

    Between two steps of a picture, its data stays in the core's cache, and no core idles while two workers share the
    other (docs/decisions/0053-a-worker-keeps-to-its-core.md).
    """
    if cores:
        with contextlib.suppress(OSError):  # a container's cores may have been changed since they were counted
            os.sched_setaffinity(0, cores)


def until_available(open_queue: Callable[[], Queue], report: Callable[[Report], None]) -> Queue:
    """Open the queue, however long that takes: its disk may be full."""
    backoff = Backoff(*QUEUE_BACKOFF)
    while True:
        try:
            return open_queue()
        except Unavailable as error:
            report(queue_failure(error))
            backoff.fail()
            time.sleep(backoff.delay())


def rehearse(engine: AnyEngine, report: Callable[[Report], None]) -> bool:
    """Cut out a picture that is known to be good, as an image; whether there was room for it. Raises DeviceLost."""
    report(RehearsalReport(passed=False))
    try:
        with engine.announce() as submit:
            future = submit(textured_picture(1080, 1920))
            future.result()
    except (DeviceFull, PictureTooLargeForDevice) as error:  # which says nothing about other pictures
        log.warning("rehearsal_skipped", device=engine.options.device, problem=str(error))
        return False
    report(RehearsalReport(passed=True))
    return True


def take_stdout() -> TextIO:
    """Keep standard output for reports: whatever a library prints goes to standard error from now on."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "w", encoding="utf-8")


def main() -> None:
    """Run the process. It ends by `os._exit`, so that no thread that hangs keeps it alive."""
    for number in (signal.SIGINT, signal.SIGHUP):  # they go to the whole process group; the supervisor decides
        signal.signal(number, signal.SIG_IGN)
    report = Reporter(take_stdout())
    start = decode_start(sys.stdin.readline())
    configure(start.settings.log_format, start.settings.log_level)
    try:
        code = serve(start, sys.stdin, report)
    except DeviceLost as error:
        log.error("device_lost", device=start.device, problem=str(error))
        code = ExitCode.DEVICE_LOST
    except BaseException as error:
        log.error("worker_failed", device=start.device, problem=f"{type(error).__name__}: {error}", exc_info=True)
        code = ExitCode.DEVICE_LOST
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
